"""Which expectations are asked together, with what, and of what.

Great Expectations' time goes by the frame that it is given, and what it finds by the types there and in the YAML:
pandas has doubles for whole numbers of a column with nulls, and Python's 99.99 is not a decimal column's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.contract.checks import Expectation

#: Some expectations, by their places in the suite.
Asked: TypeAlias = Iterable[tuple[int, Expectation]]

#: Whole numbers beyond it are not all doubles.
EXACT = 2**53

#: Those whose bounds are values of the column, and not figures about it.
_BOUNDED = tuple(f"expect_column_{what}_to_be_between" for what in ("values", "max", "min"))
_SUM = "expect_column_sum_to_be_between"
_COMMONEST = "expect_column_most_common_value_to_be_in_set"
#: Those that are about the values of one column, and of no row that has none.
_OF_VALUES = (
    *(f"expect_column_{what}_to_be_between" for what in ("max", "min", "sum", "mean", "median", "stdev")),
    *(f"expect_column_distinct_values_to_{what}_set" for what in ("be_in", "contain", "equal")),
    _COMMONEST,
)
#: Those that reckon with doubles, or ask for the type.
_BY_DOUBLES = ("_quantile_", "_z_scores_", "_outliers", "_kl_divergence_", "_of_type", "_in_type_list", "_type_to_be")
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


def arguments(one: Expectation, schema: pa.Schema) -> dict[str, Any]:
    """What it is called with: what stands for a value of its column is one, a text a time and 0.1 a decimal."""
    kinds = [schema.field(name).type if name in schema.names else pa.null() for name in one.columns]
    return {name: _meant(one, name, value, kinds) for name, value in one.arguments.items()} if kinds else one.arguments


def _meant(one: Expectation, name: str, value: Any, kinds: Sequence[pa.DataType]) -> Any:
    kind = kinds[0]
    if name == "value_set" and isinstance(value, list):
        return [_value(each, kind) for each in value]
    if name == "value_pairs_set" and isinstance(value, list):
        return [_row(pair, kinds) for pair in value]
    if name in {"min_value", "max_value"} and (one.name in _BOUNDED or pa.types.is_temporal(kind)):
        return _value(value, kind)
    if name == "quantile_ranges" and pa.types.is_temporal(kind) and isinstance(value, dict):
        return value | {"value_ranges": [_row(pair, (kind, kind)) for pair in value.get("value_ranges") or ()]}
    if name == "sum_total":
        return _value(value, next(filter(pa.types.is_decimal, kinds), pa.null()))
    return value


def _row(pair: Any, kinds: Sequence[pa.DataType]) -> Any:
    """Values of two columns; of what is no pair, Great Expectations says so."""
    fits = isinstance(pair, list) and len(pair) == len(kinds)
    return [_value(each, kind) for each, kind in zip(pair, kinds, strict=True)] if fits else pair


def _value(value: Any, kind: pa.DataType) -> Any:
    """As a column of that type has it on pandas; what stands for none stays."""
    if pa.types.is_decimal(kind) and isinstance(value, str | int | float) and not isinstance(value, bool):
        return _decimal(value)
    if pa.types.is_date(kind) and isinstance(value, str | date):
        moment = _moment(value)
        return value if moment is None else (moment.tz_convert("UTC") if moment.tz else moment).date()
    if pa.types.is_timestamp(kind) and isinstance(value, str | date):
        moment = _moment(value)
        if moment is None:
            return value
        if kind.tz is None:
            return (moment.tz_convert("UTC").tz_localize(None) if moment.tz else moment).to_pydatetime()
        return (moment if moment.tz else moment.tz_localize("UTC")).to_pydatetime()
    return value


def _decimal(value: str | float) -> Any:
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return value
    return value if found.is_nan() else found


def _moment(value: str | date) -> pd.Timestamp | None:
    try:
        found = pd.Timestamp(value)
    except ValueError:
        return None
    return None if pd.isna(found) else found


def of_all(asked: Asked, rows: pa.Table) -> Iterator[tuple[list[int], pd.DataFrame]]:
    """Expectations about all rows, and what they are asked of: all of it together, but one by one what that misleads.

    Args:
        asked: which.
        rows: all, with the columns that these look at. They cannot be used any more.
    """
    usual: list[int] = []
    for number, one in asked:
        columns = needed([one], rows.schema)
        own = _own(one, rows if columns is None else rows.select(columns))
        if own is None:
            usual.append(number)
        else:
            yield [number], own
    if usual:
        yield usual, rows.to_pandas(split_blocks=True, self_destruct=True)


def _own(one: Expectation, rows: pa.Table) -> pd.DataFrame | None:
    """Rows in which it finds what is there; None where pandas has them so anyway."""
    if one.name in _OF_VALUES:
        column = rows[one.columns[0]]
        whole, missing = pa.types.is_integer(column.type), column.null_count > 0
        timed = one.name == _COMMONEST and pa.types.is_timestamp(column.type)
        wraps = one.name == _SUM and whole and _largest(column) * len(column) >= 2**63
        if pa.types.is_floating(column.type) or not (missing or timed or wraps):
            return None
        some = rows.filter(pc.is_valid(column)) if missing else rows
        found: pd.DataFrame = some.to_pandas(timestamp_as_object=timed)
        if wraps:
            found[one.columns[0]] = found[one.columns[0]].astype(object)
        return found
    if any(part in one.name for part in _BY_DOUBLES) or not _doubled(rows):
        return None
    return _exact(rows, rows.to_pandas())


def _largest(column: pa.ChunkedArray) -> int:
    """How far from zero whole numbers go."""
    ends = pc.min_max(column).as_py()
    return max(abs(int(ends["min"] or 0)), abs(int(ends["max"] or 0)))


def _doubled(rows: pa.Table) -> list[str]:
    """Columns of whole numbers that pandas would take for doubles, where that loses any of these or of their likes."""
    whole = [one.name for one in rows.schema if pa.types.is_integer(one.type)]
    missing = [name for name in whole if rows[name].null_count]
    lossy = missing and any(
        _largest(rows[name]) > EXACT for name in whole if rows.schema.field(name).type not in _NARROW
    )
    return missing if lossy else []


def _exact(rows: pa.Table, found: pd.DataFrame) -> pd.DataFrame:
    """With such whole numbers as they are, and NaN where there is none."""
    for name in _doubled(rows):
        values = rows[name].to_pandas(integer_object_nulls=True).to_numpy(copy=True)
        values[rows[name].is_null().to_numpy()] = np.nan
        found[name] = values
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
    found = _exact(some, found)
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
