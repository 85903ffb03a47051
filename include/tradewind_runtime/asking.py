"""Which expectations are asked together, and of what: Great Expectations' time goes by the frame that it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import pandas as pd
import pyarrow as pa
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    MulticolumnMapExpectation,
)
from great_expectations.expectations.registry import get_expectation_impl

from tradewind_runtime.contract.checks import Expectation

Reach = Literal["row", "all", "columns"]
#: Some expectations, by their places in the suite.
Asked: TypeAlias = Iterable[tuple[int, Expectation]]

#: These judge rows one by one, yet by all the others.
_BY_ALL = ("_unique", "_increasing", "_decreasing", "_z_scores_", "_outliers", "_of_type", "_in_type_list")
_ROW_KINDS = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
_NARROW = (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32())


def reach(expectation: Expectation) -> Reach:
    """Whether it looks at one row at a time, at all at once, or at the table's columns alone."""
    name = expectation.name
    if name == "expect_column_to_exist" or name.startswith("expect_table_column"):
        return "columns"
    by_row = issubclass(get_expectation_impl(name), _ROW_KINDS)
    return "row" if by_row and not any(part in name for part in _BY_ALL) else "all"


def needed(asked: Iterable[Expectation], schema: pa.Schema) -> list[str] | None:
    """The columns that these look at; None for all of them."""
    some = list(asked)
    if any("row_condition" in one.arguments for one in some):
        return None  # a condition may name any column
    return sorted({name for one in some for name in one.columns}) or schema.names[:1]


def by_columns(asked: Asked, schema: pa.Schema) -> list[tuple[list[int], list[str] | None]]:
    """Those that look at the same columns, and these: each copies all columns of its frame three times."""
    found: dict[tuple[str, ...] | None, list[int]] = {}
    for number, one in asked:
        columns = needed([one], schema)
        found.setdefault(None if columns is None else tuple(columns), []).append(number)
    return [(numbers, None if columns is None else list(columns)) for columns, numbers in found.items()]


def rounds(asked: Asked) -> list[list[int]]:
    """A suite of Great Expectations holds one of a kind for a column: the next of it has a suite of its own."""
    found: list[list[int]] = []
    seen: Counter[tuple[str, ...]] = Counter()
    for number, one in asked:
        kind = (one.name, *one.columns)
        if seen[kind] == len(found):
            found.append([])
        found[seen[kind]].append(number)
        seen[kind] += 1
    return found


def frame(rows: pa.Table, columns: Sequence[str] | None, first: int) -> pd.DataFrame:
    """Some columns of rows, for what judges each by itself.

    Args:
        rows: some.
        columns: which; all by default.
        first: the number of the first row.
    """
    some = rows.select(list(columns)) if columns is not None else rows
    found: pd.DataFrame = (_wide(some) if some.num_columns == 1 else some).to_pandas()
    found.index = pd.RangeIndex(first, first + len(found))
    return found


def _wide(column: pa.Table) -> pa.Table:
    """With whole numbers of 64 bits: Great Expectations compares these with bounds at once, narrower ones in Python.

    Of one column alone: examples of several are told with their types.
    """
    (kind,) = column.schema.types
    return column.cast(pa.schema([(column.column_names[0], pa.int64())])) if kind in _NARROW else column
