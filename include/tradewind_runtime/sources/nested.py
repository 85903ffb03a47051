"""Lists, objects and maps of a source as JSON: a column of strings holds them, and whoever reads may take them apart.

Those of JSON stay as they are written. Typed ones, of Parquet, Avro, Protobuf or a database, are written here: times by
ISO 8601, decimals as strings, bytes as base64, and a number that JSON has not as null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pyarrow as pa

#: The type of what no table holds: nothing but its name is told.
UNHELD = pa.list_(pa.null())
_ENCODER = msgspec.json.Encoder(enc_hook=str)


def column(things: Iterable[Any], of: Callable[[Any], Any] = lambda thing: thing) -> tuple[pa.Array, list[int]]:
    """The values of things as JSON, null where there is none; and the indexes of those that cannot be: null there."""
    found: list[str | None] = []
    wrong = []
    for index, thing in enumerate(things):
        try:
            value = of(thing)
            found.append(None if value is None else _ENCODER.encode(value).decode())
        except (RecursionError, TypeError, ValueError):  # msgspec's own errors are among these
            found.append(None)
            wrong.append(index)
    return pa.array(found, pa.string()), wrong


def texts(array: pa.Array) -> pa.Array:
    """Each of an array as JSON.

    Raises:
        ArrowInvalid: where one cannot be.
    """
    found, wrong = column(array.to_pylist(maps_as_pydicts="lossy"))
    if wrong:
        raise pa.ArrowInvalid("no JSON")
    return found
