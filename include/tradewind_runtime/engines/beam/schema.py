"""The type that a PCollection's rows are declared with, as a table's schema.

Nothing is guessed from the rows themselves: which come first is chance, and a worker sees its own alone.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.typehints import typehints
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.utils.timestamp import Timestamp

from tradewind_runtime.engines.output import MOMENT, refused

_PLAIN: dict[Any, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    date: pa.date32(),
    datetime: MOMENT,
    Timestamp: MOMENT,
}
_LISTS = (list, Sequence, Iterable)
_DECLARE = "give the PCollection a NamedTuple: `.with_output_types(Row)`; or return (rows, pyarrow.schema([…]))"


def declared(kind: Any) -> pa.Schema:
    """Of a NamedTuple, a dataclass, a TypedDict, or a `beam.Row` whose fields Beam has found out.

    Raises:
        StepError: TW547 where the rows are of another type, or a column's is unknown or none of a table.
    """
    fields = _fields(kind)
    if not fields:
        raise refused("declares no columns", _DECLARE, got=str(kind), expected="a type with fields")
    return pa.schema([pa.field(name, _column(name, one)) for name, one in fields])


def _fields(kind: Any) -> list[tuple[str, Any]]:
    if isinstance(kind, RowTypeConstraint):
        user = kind.user_type
        if not user.__name__.startswith("BeamSchema_"):  # which Beam has made for a `beam.Row`
            return _fields(user)
        return list(kind._fields)  # there is no other way to them
    if isinstance(kind, type) and (dataclasses.is_dataclass(kind) or hasattr(kind, "__annotations__")):
        try:
            return list(typing.get_type_hints(kind).items())
        except (NameError, AttributeError) as error:
            fix = "import it where the type is declared, and not for type checkers alone"
            raise refused(f"declares {kind.__name__}, of which a type is not found: {error}", fix) from error
    return []


def _column(name: str, kind: Any) -> pa.DataType:
    found = _arrow(kind)
    if found is None:
        raise refused(
            f"declares the column {name!r} as {_shown(kind)}, of which a table has no column",
            "declare it as int, float, str, bool, datetime, date or a list of them",
        )
    return found


def _arrow(kind: Any) -> pa.DataType | None:
    if (inner := _without_none(kind)) is not None:
        return _arrow(inner)
    if (item := _item(kind)) is not None:
        found = _arrow(item)
        return None if found is None else pa.list_(found)
    if isinstance(kind, type) and issubclass(kind, np.generic):
        return pa.from_numpy_dtype(np.dtype(kind))
    return _PLAIN.get(kind) if isinstance(kind, type) else None


def _without_none(kind: Any) -> Any | None:
    """X of `X | None`, in Python's words or in Beam's."""
    if isinstance(kind, typehints.UnionConstraint):
        parts = set(kind.union_types)
    elif typing.get_origin(kind) in (typing.Union, types.UnionType):
        parts = set(typing.get_args(kind))
    else:
        return None
    rest = [one for one in parts if one is not type(None)]
    return rest[0] if len(rest) == 1 else object


def _item(kind: Any) -> Any | None:
    """X of `list[X]`, in Python's words or in Beam's."""
    if isinstance(kind, typehints.SequenceTypeConstraint):
        return kind.inner_type
    return typing.get_args(kind)[0] if typing.get_origin(kind) in _LISTS and typing.get_args(kind) else None


def _shown(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
