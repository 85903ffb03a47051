"""What is new in a raw table, whatever upkeep has done with its files since."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest
from tests.tradewind_runtime.checkable import START, House, rows

from tradewind_runtime import news, retention
from tradewind_runtime.compaction import compact
from tradewind_runtime.replacing import Replace


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path / "a lake")


def new(house: House, before: int | None) -> tuple[int, int, bool]:
    """Rows that are counted as new, those that are read as new, and whether all are read again."""
    found = news.since(house.raw.snapshot(), before)
    return news.count(house.raw.snapshot(), before), found.rows.count(), found.again


def test_rows_that_were_appended(house):
    first = house.add(rows(3))
    house.add(rows(2, first=10))
    assert new(house, first) == (2, 2, False)
    assert new(house, None) == (5, 5, False)


def test_old_rows_that_were_put_together_with_new_ones_are_not_counted_as_new(house):
    first = house.add(rows(3))
    house.add(rows(2, first=10))
    house.add(rows(4, first=20))
    compact(house.raw, house.raw.version())
    assert new(house, first) == (6, 9, True)
    house.add(rows(1, first=30))
    compact(house.raw, house.raw.version())
    assert new(house, first)[0] == 7


def test_rows_that_replace_others_are_all_new(house):
    first = house.add(rows(3))
    house.add(rows(2), replace="all")
    assert new(house, first) == (2, 2, True)


def span(low: int, high: int) -> Replace:
    return Replace("at", START + timedelta(hours=low), START + timedelta(hours=high))


def test_rows_that_replace_a_span_are_new_and_those_outside_it_are_not(house):
    first = house.add(rows(10))
    house.add(rows(4, first=8), replace=span(8, 12))
    assert new(house, first) == (4, 4, False)
    assert news.since(house.raw.snapshot(), first).spans == (span(8, 12),)
    second = house.raw.version()
    house.add(rows(3, first=11), replace=span(11, 13))
    house.add(rows(1, first=20))
    found = news.since(house.raw.snapshot(), first)
    assert new(house, first) == (7, 7, False), "a row that was new and gave way again is none"
    assert found.spans == (span(8, 12), span(11, 13))
    assert new(house, second) == (4, 4, False)


def test_upkeep_between_two_that_replace_a_span(house):
    for n in range(4):
        first = house.add(rows(2, first=2 * n))
    compact(house.raw, first)
    house.add(rows(3, first=7), replace=span(7, 10))
    retention.expire(house.raw, "at", START + timedelta(hours=3))
    assert new(house, first) == (3, 3, False)
    compact(house.raw, house.raw.version())
    assert new(house, first)[0] == 3
    assert new(house, first)[2], "old rows and new ones are in one file by now"


def test_all_is_new_where_spans_are_not_of_one_column(house):
    first = house.add(rows(4))
    house.add(rows(1, first=3), replace=span(3, 4))
    house.add(rows(1, first=9), replace=Replace("n", 0, 1))
    assert news.since(house.raw.snapshot(), first).again


def test_all_is_new_where_spans_are_very_many(house, monkeypatch):
    monkeypatch.setattr(news, "SPANS", 2)
    first = house.add(rows(10))
    for hour in (1, 1, 3):
        house.add(rows(1, first=hour), replace=span(hour, hour + 1))
    assert new(house, first) == (2, 2, False)
    house.add(rows(1, first=5), replace=span(5, 6))
    assert new(house, first)[2]


def test_rows_that_went_by_their_age_make_no_others_new(house):
    first = house.add(rows(24))
    house.add(rows(24, first=24))
    retention.expire(house.raw, "at", START + timedelta(hours=12))
    assert new(house, first) == (24, 24, False)
    retention.expire(house.raw, "at", START + timedelta(hours=30))
    assert new(house, first) == (18, 18, False)
    compact(house.raw, house.raw.version())
    house.add(rows(2, first=50))
    assert new(house, first) == (20, 20, False)


def test_what_retention_left_of_rows_of_both_kinds(house):
    """The first to go are counted as those that were there first."""
    first = house.add(rows(10))
    house.add(rows(10, first=10))
    compact(house.raw, house.raw.version())
    retention.expire(house.raw, "at", START + timedelta(hours=15))
    assert new(house, first)[0] == 5


LATER = {
    "rows": lambda house: house.add(rows(1, first=30)),
    "put together": lambda house: compact(house.raw, house.raw.version()),
    "too old": lambda house: retention.expire(house.raw, "at", START + timedelta(hours=2)),
    "replaced": lambda house: house.add(rows(4, first=8), replace=span(0, 2)),
    "wider": lambda house: house.raw.add_columns([pa.field("more", pa.int64())]),
}


@pytest.mark.parametrize("later", LATER)
def test_what_comes_after_the_version_that_is_asked_of_is_none_of_its_news(house, later):
    first = house.add(rows(3))
    house.add(rows(2, first=10))
    house.add(rows(4, first=20))
    pinned = house.raw.snapshot()
    LATER[later](house)
    found = news.since(pinned, first)
    assert (news.count(pinned, first), found.rows.count(), found.again, found.spans) == (6, 6, False, ())
