"""Expectations about all rows at once, asked of few: an engine makes of a column values of which they hold as of all.

So Great Expectations judges them on pandas as it does of all values, and says the same. Sums of floating-point numbers,
means and deviations may have other last digits, since they are added up in another order. What is not here is asked on
pandas of all values of the columns that it names: medians, quantiles, z-scores, outliers, distributions, types, orders,
uniqueness within a row, what has a `row_condition`, and what is asked of a type that pandas takes otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import pyarrow as pa

from tradewind_runtime import asking, sifting
from tradewind_runtime.answers import SHOWN, holds
from tradewind_runtime.contract.checks import Expectation
from tradewind_runtime.sifting import Numbers, Part

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult

    from tradewind_runtime.expectations import Found, Suite

#: Values that the step holds on pandas: while uniqueness is judged, each text takes 390 bytes there and each number 90.
MANY = 1_000_000

_ROWS = ("expect_table_row_count_to_be_between", "expect_table_row_count_to_equal")
_ENDS = ("expect_column_max_to_be_between", "expect_column_min_to_be_between")
_SUM = "expect_column_sum_to_be_between"
_SUMS = (_SUM, "expect_column_mean_to_be_between", "expect_column_stdev_to_be_between")
_SHARES = {
    "expect_column_proportion_of_non_null_values_to_be_between": "column.non_null_proportion",
    "expect_column_proportion_of_unique_values_to_be_between": "column.unique_proportion",
    "expect_column_unique_value_count_to_be_between": "column.distinct_values.count",
}
_DISTINCT = (
    "expect_column_distinct_values_to_be_in_set",
    "expect_column_distinct_values_to_contain_set",
    "expect_column_distinct_values_to_equal_set",
)
_COMMONEST = "expect_column_most_common_value_to_be_in_set"
_ALONE = "expect_column_values_to_be_unique"
_UNIQUE = (_ALONE, "expect_compound_columns_to_be_unique")
_BY_COLUMN = (*_ENDS, *_SUMS, *_SHARES, *_DISTINCT, _COMMONEST)

#: Which rows are looked at: those that have all of the values, one of them, or whatever they have.
There: TypeAlias = Literal["all", "any", "whatever"]


@dataclass(frozen=True)
class Figures:
    """Of one column."""

    count: int  # of values
    low: Any
    high: Any
    total: Any = None  # of signed whole numbers and doubles
    deviation: float | None = None  # of a sample; none of one value


class Reducer(Protocol):
    """An engine that has all rows. As on pandas, NaN is no value, and the two zeros are one."""

    def figures(self, columns: Sequence[str]) -> Mapping[str, Figures]:
        """Of all these columns, by one pass."""

    def distinct(self, column: str) -> int:
        """How many distinct values."""

    def values(self, column: str, *, commonest: bool) -> pa.ChunkedArray:
        """The distinct values, in the column's type; or those alone that come most often."""

    def repeated(self, columns: Sequence[str], there: There) -> tuple[int, Numbers]:
        """How many rows are looked at, and the numbers of those whose values another of them has too, in order."""


def reducible(one: Expectation, schema: pa.Schema) -> bool:
    """Whether an engine comes to what pandas comes to."""
    if "row_condition" in one.arguments:
        return False
    kinds = [schema.field(name).type for name in one.columns]
    if one.name in _SUMS:
        return all(summed(kind) for kind in kinds)
    known = one.name in (*_ROWS, *_UNIQUE, *_BY_COLUMN)
    return known and not any(pa.types.is_nested(kind) or pa.types.is_null(kind) for kind in kinds)


def summed(kind: pa.DataType) -> bool:
    """Whether values of a type are added up here as pandas adds them up."""
    return bool(pa.types.is_signed_integer(kind) or pa.types.is_float64(kind))


def size(suite: Suite, rows: int) -> int:
    """How many values pandas would hold for those that are reducible."""
    columns = {name for one in _mine(suite).values() for name in one.columns}
    return rows * len(columns)


def reduced(suite: Suite, parts: Sequence[Part], reducer: Reducer) -> Found:
    """What those find that are reducible, by their places in the suite."""
    mine, count = _mine(suite), sum(part.count for part in parts)
    figures = reducer.figures(sorted({one.columns[0] for one in mine.values() if one.name in _BY_COLUMN}))
    found: Found = {}
    for number, one in mine.items():
        if one.name in _ROWS:
            found[number] = [suite.by_figures(number, {"table.row_count": count})]
        elif one.name in _UNIQUE:
            found[number] = [_unique(suite, number, parts, reducer)]
        elif one.name in _SHARES:
            found[number] = [suite.by_figures(number, _share(one, figures[one.columns[0]], count, reducer))]
        else:
            column = one.columns[0]
            kind = suite.schema.field(column).type
            if one.name == _SUM and pa.types.is_integer(kind):  # no such type may hold it
                found[number] = [suite.by_figures(number, {"column.sum": int(figures[column].total or 0)})]
                continue
            suite.of_all([number], pa.table({column: _few(one, figures[column], kind, reducer)}), found)
    return found


def _mine(suite: Suite) -> Mapping[int, Expectation]:
    asked = {number: suite.expectations[number] for number in suite.reaching("all")}
    return {number: one for number, one in asked.items() if reducible(one, suite.schema)}


def _share(one: Expectation, figures: Figures, count: int, reducer: Reducer) -> Mapping[str, Any]:
    """As Great Expectations' metrics have it."""
    metric = _SHARES[one.name]
    if metric == "column.non_null_proportion":
        return {metric: figures.count / count}
    distinct = reducer.distinct(one.columns[0])
    if metric == "column.unique_proportion":
        return {metric: distinct / figures.count if figures.count else 0}
    return {metric: distinct}


def _few(one: Expectation, figures: Figures, kind: pa.DataType, reducer: Reducer) -> pa.ChunkedArray:
    """Values of which it holds as of all."""
    if one.name in _SUMS:
        values, kind = _summing(one, figures, kind)
        return pa.chunked_array([pa.array(values, kind)])
    if one.name in _ENDS:
        return pa.chunked_array([pa.array([figures.low, figures.high] if figures.count else [], kind)])
    return reducer.values(one.columns[0], commonest=one.name == _COMMONEST)


def _summing(one: Expectation, figures: Figures, kind: pa.DataType) -> tuple[list[Any], pa.DataType]:
    """Values that have the sum, the mean or the deviation of all; sums of doubles alone."""
    if not figures.count:
        return [], kind
    if one.name == "expect_column_mean_to_be_between":
        return [float(figures.total) / figures.count], pa.float64()
    if one.name == "expect_column_stdev_to_be_between":
        half = None if figures.deviation is None else figures.deviation / 2**0.5
        return ([0.0] if half is None else [half, -half]), pa.float64()  # of one value there is none
    if figures.total != figures.total:
        return [inf, -inf], pa.float64()  # as all have: alone, what is not a number would be no value
    return [float(figures.total)], pa.float64()


def _unique(suite: Suite, number: int, parts: Sequence[Part], reducer: Reducer) -> ExpectationValidationResult:
    one, count = suite.expectations[number], sum(part.count for part in parts)
    columns = list(dict.fromkeys(one.columns))
    considered, failing = reducer.repeated(columns, _looked_at(one))
    result = {
        "element_count": count,
        "missing_count": count - considered,
        "unexpected_count": len(failing),
        "unexpected_index_list": failing,
        "partial_unexpected_list": _shown(parts, one, columns, failing[:SHOWN]),
    }
    return suite.result(number, result, success=holds(one, considered, len(failing)))


def _looked_at(one: Expectation) -> There:
    ignored = one.arguments.get("ignore_row_if", "all_values_are_missing")
    if one.name == _ALONE or ignored == "any_value_is_missing":
        return "all"
    return "whatever" if ignored == "never" else "any"


def _shown(parts: Sequence[Part], one: Expectation, columns: Sequence[str], few: Numbers) -> list[Any]:
    """The first few values that fail, as pandas gives them."""
    found: list[pa.Table] = []
    for part in parts:
        own = part.of(few)
        for offset, chunk, mask in sifting.numbered(part, own, columns) if len(own) else ():
            if mask.any():
                found.append(chunk.filter(pa.array(mask)))
            if offset + chunk.num_rows > own[-1]:
                break  # there is none after it
    if not found:
        return []
    values = asking.frame(pa.concat_tables(found), columns, 0)
    return list(values[columns[0]]) if one.name == _ALONE else list(values.to_dict("records"))
