"""Spans as sets of hours."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tradewind_runtime.contract.refs import Window
from tradewind_runtime.spans import days, minus, union

START = datetime(2013, 1, 1, tzinfo=UTC)
some = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 9)).map(lambda one: span(one[0], one[0] + one[1])), max_size=6
)


def span(low: int, high: int) -> Window:
    return Window(start=START + timedelta(hours=low), end=START + timedelta(hours=high))


def hours(spans) -> set[int]:
    return {hour for one in spans for hour in range(60) if one.start <= START + timedelta(hours=hour) < one.end}


@given(some, some)
def test_they_are_sets(these, others):
    assert hours(union(these)) == hours(these)
    assert hours(minus(these, others)) == hours(these) - hours(others)
    assert all(before.end < after.start for before, after in pairwise(union(these)))
    assert all(before.end <= after.start for before, after in pairwise(minus(these, others)))


def test_near_ones_are_one():
    assert union([span(0, 1), span(3, 4), span(9, 10)], gap=timedelta(hours=2)) == (span(0, 4), span(9, 10))


def test_days_are_those_of_utc():
    early = datetime.fromisoformat("2013-01-02T00:30:00+01:00")
    assert days(early, datetime(2013, 1, 2, 23, tzinfo=UTC)) == span(0, 48)
    assert days(datetime(2013, 1, 1, 5), datetime(2013, 1, 1, 5)) == span(0, 24)  # noqa: DTZ001
