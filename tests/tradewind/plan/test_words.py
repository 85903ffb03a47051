from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.plan.words import fill
from tradewind_runtime.contract.errors import TradewindError
from tradewind_runtime.contract.refs import Window

WINDOW = Window(start=datetime(2013, 1, 1, tzinfo=UTC), end=datetime(2013, 2, 1, tzinfo=UTC))


def test_a_whole_word_keeps_its_type() -> None:
    assert fill({"eta": "{params.eta}", "n": ["{params.n}"]}, {"eta": 0.1, "n": 3}, None) == {"eta": 0.1, "n": [3]}


def test_a_word_in_a_text_becomes_text() -> None:
    assert fill("n-{params.n}/x", {"n": 3}, None) == "n-3/x"


def test_the_window_is_filled_in_but_its_dates_stay() -> None:
    text = "{window.start} {window.date:%Y/%m}/{window.date}.csv"
    assert fill(text, {}, WINDOW) == "2013-01-01T00:00:00+00:00 {window.date:%Y/%m}/{window.date}.csv"
    assert fill("{window.date:%j}", {}, WINDOW) == "{window.date:%j}"


@pytest.mark.parametrize("text", ["{params.x}", "{window.start}", "{window.middle}"])
def test_a_word_that_stands_for_nothing_is_an_error(text: str) -> None:
    with pytest.raises(TradewindError, match="TW210"):
        fill(text, {"y": 1}, None)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(alphabet="ab{}.x"),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_has_no_words_stays_as_it_is(value: object) -> None:
    assert fill(value, {}, WINDOW) == value
