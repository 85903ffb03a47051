"""What is asked of few columns at a time, and of wider numbers, is answered as Great Expectations does of the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tradewind_runtime import asking
from tradewind_runtime.answers import answer
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
