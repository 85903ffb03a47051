"""What is asked of few columns at a time, and of wider numbers, is answered as Great Expectations does of the table."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tradewind_runtime import asking
from tradewind_runtime.answers import Answer, answer
from tradewind_runtime.contract.checks import CheckConfig
from tradewind_runtime.expectations import Found, Suite

TWO = {"column_A": "n", "column_B": "m"}
ASKED: list[dict[str, Any]] = [
    {"expect_column_values_to_be_between": {"column": "n", "min_value": 3, "max_value": 90.5}},
    {"expect_column_values_to_be_between": {"column": "n", "min_value": 3, "strict_min": True}},
    {"expect_column_values_to_be_between": {"column": "n", "max_value": 90, "strict_max": True, "mostly": 0.5}},
    {"expect_column_values_to_be_between": {"column": "n", "min_value": -(2**70), "max_value": 2**70}},
    {"expect_column_values_to_be_in_set": {"column": "n", "value_set": [1, 2.0, 3.5, 300, -1]}},
    {"expect_column_values_to_not_be_in_set": {"column": "n", "value_set": [1, 2]}},
    {"expect_column_values_to_not_be_null": {"column": "n"}},
    {"expect_column_values_to_be_null": {"column": "m"}},
    {"expect_column_values_to_match_regex": {"column": "word", "regex": "^a"}},
    {"expect_column_value_lengths_to_be_between": {"column": "word", "max_value": 2}},
    {"expect_column_pair_values_a_to_be_greater_than_b": {**TWO, "or_equal": True}},
    {"expect_column_pair_values_to_be_equal": TWO},
    {"expect_column_pair_values_to_be_in_set": {**TWO, "value_pairs_set": [[1, 1], [2, 7]]}},
    {"expect_multicolumn_sum_to_equal": {"column_list": ["n", "m"], "sum_total": 100}},
    {"expect_column_values_to_be_in_set": {
        "column": "word", "value_set": ["a"], "row_condition": "n > 50", "condition_parser": "pandas",
    }},
]  # fmt: skip
NARROW = (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32())


def table(kind: pa.DataType, share: float) -> pa.Table:
    rng = np.random.default_rng(7)

    def drawn() -> pa.Array:
        return pa.array(rng.integers(0, 101, 60), mask=rng.random(60) < share).cast(kind)

    words = pa.array([["a", "ab", "bcd", None][at] for at in rng.integers(0, 4, 60)])
    return pa.table({"n": drawn(), "m": drawn(), "word": words})


def suite(rows: pa.Table) -> Suite:
    return Suite("s", CheckConfig.model_validate({"source": "s", "expectations": ASKED}).expectations, rows.schema)


def told(asked: Suite, found: Found) -> list[str]:
    """All that it says, examples among it; as text, for what is not a number is like no other."""
    answers = (answer(one, found[number]) for number, one in enumerate(asked.expectations))
    return [str((one.facts(), one.failing.tolist(), one.raw.result)) for one in answers]


@pytest.mark.parametrize("share", [0.0, 0.3], ids=["all there", "some missing"])
@pytest.mark.parametrize("kind", [*NARROW, pa.int64(), pa.float32()], ids=str)
def test_few_columns_and_wide_numbers_say_what_the_table_says(kind: pa.DataType, share: float) -> None:
    rows = table(kind, share)
    asked, numbers, whole, apart = suite(rows), list(range(len(ASKED))), Found(), Found()
    asked.ask(numbers, rows.to_pandas(), whole)
    asked.in_chunks(numbers, lambda columns: iter([rows.select(columns) if columns else rows]), apart)
    assert told(asked, apart) == told(asked, whole)


def test_only_a_condition_is_given_all_columns() -> None:
    asked = suite(table(pa.int16(), 0.0))
    found = asking.by_columns(enumerate(asked.expectations), asked.schema)
    assert [columns for _, columns in found] == [["n"], ["m"], ["word"], ["m", "n"], None]
    assert sorted(number for numbers, _ in found for number in numbers) == list(range(len(ASKED)))


def test_rows_keep_their_numbers_and_are_not_copied_wider_than_need_be() -> None:
    rows = table(pa.int16(), 0.0)
    frame = asking.frame(rows, ["n"], 40)
    assert (frame.dtypes.astype(str).to_dict(), list(frame.index[:2])) == ({"n": "int64"}, [40, 41])
    assert set(asking.frame(rows, ["m", "n"], 0).dtypes.astype(str)) == {"int16"}
    assert asking.frame(rows, None, 0).shape == (60, 3)


def test_texts_that_differ_and_texts_that_come_again_are_the_same_on_pandas() -> None:
    differ, again = pa.array([None, *map(str, range(99))]), pa.array(["a", "b", None, "b"] * 25)
    for words in (differ, again, pa.array([None] * 4, pa.string()), again.cast(pa.binary()), pa.array([[1], [1]])):
        frame = asking.frame(pa.table({"word": words, "other": words}), ["word"], 0)
        assert str(frame["word"].tolist()) == str(words.to_pandas().tolist())
    frame = asking.frame(pa.table({"word": again}), None, 0)
    assert frame["word"][1] is frame["word"][3], "one object of equal texts"


B = 1_780_000_000_000_000_000
PRICES = pa.array([Decimal("99.99"), None, Decimal("0.10"), Decimal("0.70")], pa.decimal128(9, 2))
DAYS = pa.array([date(2024, 1, 2), None, date(2024, 1, 2), date(2024, 1, 3)])
MOMENTS = pa.array([datetime(2024, 1, 2, 3, tzinfo=UTC), None, datetime(2024, 1, 2, 3, tzinfo=UTC), None])
LARGE, OTHERS = pa.array([B + 1, None, B + 2, B + 3]), pa.array([B, 7, B + 2, B + 4])
VALUES = pa.table({
    "price": PRICES, "day": DAYS,
    "at": MOMENTS.cast(pa.timestamp("us", "UTC")), "local": MOMENTS.cast(pa.timestamp("us")),
    "id": LARGE, "other": OTHERS, "full": pa.array([B + 1, B + 2, B + 3, B + 4]), "wraps": pa.array([2**62] * 4),
    "small": pa.array([1, 1, None, 2], pa.int32()), "same": pa.array([B + 1, None, B + 1, None]),
})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "failing"),
    [
        ("values_to_be_between", {"column": "price", "max_value": 99.99}, []),
        ("values_to_be_between", {"column": "price", "min_value": 0.1, "strict_max": True, "max_value": "99.99"}, [0]),
        ("values_to_be_in_set", {"column": "price", "value_set": [99.99, "0.7", None]}, [2]),
        ("values_to_not_be_in_set", {"column": "price", "value_set": [99.99]}, [0]),
        ("pair_values_to_be_in_set", {
            "column_A": "price", "column_B": "day", "value_pairs_set": [[99.99, "2024-01-02"], ["0.10", "2024-01-03"]],
            "ignore_row_if": "either_value_is_missing",
        }, [2, 3]),
        ("values_to_be_between", {"column": "day", "max_value": "2024-01-02T00:00:00+00:00"}, [3]),
        ("values_to_be_in_set", {"column": "day", "value_set": ["2024-01-02"]}, [3]),
        ("values_to_not_be_in_set", {"column": "day", "value_set": ["2024-01-02", "2024-01-09"]}, [0, 2]),
        *((f"values_to_{so}be_in_set", {"column": of, "value_set": ["2024-01-02T03:00:00Z"]}, [0, 2] if so else [])
          for of in ("at", "local") for so in ("", "not_")),
        ("values_to_be_in_set", {"column": "id", "value_set": [B + 1]}, [2, 3]),
        ("values_to_be_unique", {"column": "id"}, []),
        ("values_to_be_unique", {"column": "same"}, [0, 2]),
        ("values_to_be_increasing", {"column": "id", "strictly": True}, []),
        ("values_to_be_between", {"column": "id", "max_value": B + 2}, [3]),
        ("values_to_be_between", {"column": "full", "max_value": B + 2}, [2, 3]),
        ("values_to_be_between", {"column": "full", "min_value": B + 1, "max_value": 2**70, "strict_min": True}, [0]),
        ("pair_values_a_to_be_greater_than_b", {"column_A": "id", "column_B": "other"}, [1, 2, 3]),
        ("pair_values_to_be_equal", {"column_A": "id", "column_B": "other"}, [0, 1, 3]),
    ],
)  # fmt: skip
def test_rows_are_judged_by_values_as_the_column_has_them(
    name: str, arguments: dict[str, Any], failing: list[int]
) -> None:
    found = judged(f"expect_column_{name}", arguments)
    assert (found.failing.tolist(), found.success) == (failing, not failing), found.text


def test_sums_of_a_row_and_several_columns_at_once_are_exact() -> None:
    total = {"column_list": ["id", "small"], "sum_total": B + 2, "ignore_row_if": "any_value_is_missing"}
    assert judged("expect_multicolumn_sum_to_equal", total).failing.tolist() == [3]
    prices = {"column_list": ["price", "price"], "sum_total": 0.2, "ignore_row_if": "any_value_is_missing"}
    assert judged("expect_multicolumn_sum_to_equal", prices).failing.tolist() == [0, 3]
    assert judged("expect_compound_columns_to_be_unique", {"column_list": ["id", "local"]}).success


@pytest.mark.parametrize(
    ("name", "arguments", "observed", "success"),
    [
        ("max_to_be_between", {"column": "price", "max_value": 99.99}, "observed 99.99", True),
        ("min_to_be_between", {"column": "price", "min_value": 0.1}, "observed 0.10", True),
        ("sum_to_be_between", {"column": "price", "max_value": 101}, "observed 100.78999999999999", True),
        ("max_to_be_between", {"column": "day", "max_value": "2024-01-02"}, "observed 2024-01-03", False),
        ("min_to_be_between", {"column": "day", "min_value": "2024-01-02"}, "observed 2024-01-02", True),
        ("most_common_value_to_be_in_set", {"column": "day", "value_set": ["2024-01-02"]}, "observed 2024-01-02", True),
        ("most_common_value_to_be_in_set", {"column": "at", "value_set": ["2024-01-02T03:00Z"]},
         "observed 2024-01-02 03:00:00+00:00", True),
        ("most_common_value_to_be_in_set", {"column": "price", "value_set": [0.1, 0.7]},
         "observed 0.10, 0.70, 99.99", False),
        ("distinct_values_to_equal_set", {"column": "price", "value_set": [0.1, "0.70", 99.99]}, "as expected", True),
        *((f"distinct_values_to_{so}_set", {"column": of, "value_set": ["2024-01-02T03:00Z"]}, "as expected", True)
          for of in ("at", "local") for so in ("be_in", "contain")),
        ("distinct_values_to_be_in_set", {"column": "id", "value_set": [B + 1, B + 2]}, f"unexpected: {B + 3}", False),
        ("max_to_be_between", {"column": "id", "max_value": B + 2}, f"observed {B + 3}", False),
        ("sum_to_be_between", {"column": "id", "max_value": 3 * B + 5}, f"observed {3 * B + 6}", False),
        ("sum_to_be_between", {"column": "wraps", "min_value": 0}, f"observed {2**64}", True),
        ("sum_to_be_between", {"column": "small", "max_value": 4}, "observed 4", True),
    ],
)  # fmt: skip
def test_all_rows_are_judged_by_values_as_the_column_has_them(
    name: str, arguments: dict[str, Any], observed: str, success: bool
) -> None:
    for given in (arguments, arguments | {"row_condition": "other > 0", "condition_parser": "pandas"}):
        found = judged(f"expect_column_{name}", given)
        assert (found.observed, found.success) == (observed, success), found.text


def judged(name: str, arguments: dict[str, Any]) -> Answer:
    asked = Suite("s", CheckConfig.model_validate({"source": "s", "expectations": [{name: arguments}]}).expectations,
                  VALUES.schema)  # fmt: skip
    (found,) = asked.validate(lambda columns: iter([VALUES.select(columns) if columns else VALUES]))
    return found


def test_rows_without_nulls_and_small_numbers_are_what_pandas_makes_of_them() -> None:
    assert str(asking.frame(VALUES, ["full"], 0).dtypes["full"]) == "int64"
    assert str(asking.frame(VALUES, ["small"], 0).dtypes["small"]) == "float64"
    assert asking.frame(VALUES, ["id"], 0)["id"].tolist()[2:] == [B + 2, B + 3]
