"""Dates in an address."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind_runtime.contract.dates import PARTS, dated, of_any_day, of_days, stray, unknown
from tradewind_runtime.contract.keys import regex

DAYS = [date(2013, 1, 5), date(2013, 1, 31), date(2013, 12, 31)]


@pytest.mark.parametrize(
    ("format", "written"),
    [
        ("", ["2013-01-05", "2013-01-31", "2013-12-31"]),
        (":%Y/%m/%d", ["2013/01/05", "2013/01/31", "2013/12/31"]),
        (":%Y%j", ["2013005", "2013031", "2013365"]),
        (":%-m-%-d", ["1-5", "1-31", "12-31"]),
        (":year=%Y/month=%m", ["year=2013/month=01", "year=2013/month=12"]),
        (":%Y", ["2013"]),
    ],
)
def test_each_is_written_once(format: str, written: list[str]) -> None:
    assert of_days(f"a/{{window.date{format}}}/*.csv", DAYS) == [f"a/{one}/*.csv" for one in written]


def test_a_year_of_three_digits_has_a_zero() -> None:
    assert of_days("{window.date:%Y}", [date(987, 1, 1)]) == ["0987"]


def test_an_address_without_dates_stands_for_itself() -> None:
    assert not dated("a/{window.start}/{params.date}.csv")
    assert dated("a/{window.date:%Y}.csv")
    assert of_days("a.csv", DAYS) == [of_any_day("a.csv")] == ["a.csv"]


@given(st.lists(st.sampled_from([*PARTS, "/", "-", "x="]), min_size=1).map("".join), st.dates())
def test_a_glob_of_any_day_has_every_day(format: str, day: date) -> None:
    address = f"a/{{window.date:{format}}}.csv"
    (one,) = of_days(address, [day])
    assert regex(of_any_day(address)).fullmatch(one)
    assert unknown(format) == []


@pytest.mark.parametrize("format", ["%H", "%Y/%q", "%", "%%", "%-Y", "%y %"])
def test_what_no_date_has_is_told(format: str) -> None:
    assert unknown(format)


def test_what_no_date_has_is_found_in_an_address() -> None:
    """One that came by a param, which no rule looks at."""
    assert stray("a/{window.date:%Y/%H}/{window.date:%-S}.csv") == ["%H", "%-S"]
    assert stray("a/{window.date}/{window.date:%j}.csv") == []
