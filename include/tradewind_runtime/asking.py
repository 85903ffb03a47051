"""Which expectations are asked together, and of what: Great Expectations' time goes by the frame that it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.contract.checks import Expectation

#: Some expectations, by their places in the suite.
Asked: TypeAlias = Iterable[tuple[int, Expectation]]

_NARROW = (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32())


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
    alone = some.num_columns == 1
    found: pd.DataFrame = _wide(some).to_pandas(deduplicate_objects=_repeat(some)) if alone else some.to_pandas()
    found.index = pd.RangeIndex(first, first + len(found))
    return found


def _wide(column: pa.Table) -> pa.Table:
    """With whole numbers of 64 bits: Great Expectations compares these with bounds at once, narrower ones in Python.

    Of one column alone: examples of several are told with their types.
    """
    (kind,) = column.schema.types
    return column.cast(pa.schema([(column.column_names[0], pa.int64())])) if kind in _NARROW else column


def _repeat(column: pa.Table) -> bool:
    """Whether values come again, as far as the first tell: where they do not, to look each up takes twice the time."""
    first = column.column(0).slice(0, 1000)
    return not pa.types.is_string(first.type) or pc.count_distinct(first).as_py() < len(first) / 2
