"""Lists, objects and maps of a source as JSON: a column of strings holds them, and whoever reads may take them apart.

Those of JSON stay as they are written. Typed ones, of Parquet, Avro, Protobuf or a database, are written here: times by
ISO 8601, decimals as strings, bytes as base64, and a number that JSON has not as null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, time
from typing import Any

import msgspec
import pyarrow as pa

#: The type of what no table holds: nothing but its name is told.
UNHELD = pa.list_(pa.null())
_NO_JSON = (RecursionError, LookupError, OverflowError, TypeError, ValueError)


def column(things: Iterable[Any], of: Callable[[Any], Any] = lambda thing: thing) -> tuple[pa.Array, list[int]]:
    """The values of things as JSON, null where there is none; and the indexes of those that cannot be: null there."""
    found: list[str | None] = []
    wrong = []
    for index, thing in enumerate(things):
        try:
            value = of(thing)
            found.append(None if value is None else _ENCODER.encode(value).decode())
        except _NO_JSON:
            found.append(None)
            wrong.append(index)
    return pa.array(found, pa.string()), wrong


def texts(array: pa.Array) -> tuple[pa.Array, list[int]]:
    """The same of an array, whose values Python may not have: a day of the year 30000, a name twice."""
    return column(array, lambda one: one.as_py(maps_as_pydicts="strict"))


def _written(value: object) -> str:
    return value.isoformat() if isinstance(value, date | time) else str(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_written)
