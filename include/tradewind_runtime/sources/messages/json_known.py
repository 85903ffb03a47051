"""JSON objects whose columns are known, each read by itself.

That takes half of what Arrow's parser takes of all at once, and a broken one is no matter of its neighbours. Of a name
that is twice in an object the last counts. A column of strings holds a list or an object as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from tradewind_runtime.sources.messages import base
from tradewind_runtime.sources.messages.base import Group

Reason = Callable[[bytes, Exception], str]
#: What a column's values are while they are read; times, dates and bytes are written as strings.
_FOUND: Mapping[pa.DataType, type] = {
    pa.int32(): int, pa.int64(): int, pa.float64(): float, pa.bool_(): bool, pa.string(): str,
}  # fmt: skip
_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_NULL = msgspec.Raw(b"null")
NESTED = (b"[", b"{")  # how lists and objects begin
_STRING = msgspec.json.Decoder(str | None).decode


def written(kind: pa.DataType) -> pa.DataType:
    """How JSON writes a type: times, dates and bytes are strings."""
    return pa.string() if pa.types.is_temporal(kind) or pa.types.is_binary(kind) else kind


@lru_cache(16)
def reader(schema: pa.Schema) -> Reader | None:
    """Of objects with these columns; None where one is of a type that only Arrow reads digit by digit."""
    kinds = [_FOUND[kind] for column in schema if (kind := written(column.type)) in _FOUND]
    if not kinds or len(kinds) < len(schema):
        return None
    fields = [f"column{number}" for number in range(len(kinds))]  # a column's own name may be a word of Python
    names = dict(zip(fields, schema.names, strict=True))
    usual = [(field, kind | None, None) for field, kind in zip(fields, kinds, strict=True)]
    texts = [field for field, column in zip(fields, schema, strict=True) if pa.types.is_string(column.type)]
    any_ = [(field, msgspec.Raw, _NULL) if field in texts else (field, kind, none) for field, kind, none in usual]
    return Reader(
        schema,
        msgspec.json.Decoder(msgspec.defstruct("Row", usual, rename=names, gc=False)).decode,
        msgspec.json.Decoder(msgspec.defstruct("Any", any_, rename=names, gc=False)).decode,
        texts,
        [attrgetter(field) for field in fields],
    )


@dataclass(frozen=True)
class Reader:
    """Reads objects into columns."""

    schema: pa.Schema
    decode: Callable[[bytes], Any]
    decode_any: Callable[[bytes], Any]  # with what is written in place of strings
    texts: list[str]  # the fields that are strings
    values: list[Callable[[Any], Any]]

    def read(self, group: Group, reason: Reason, refused: dict[int, str]) -> base.Part:
        """Those of a group that can be read; the others' reasons go to `refused`, by index."""
        try:
            rows, indexes = list(map(self.decode, group.contents)), group.indexes
        except _BROKEN:
            rows, indexes = self._good(group, reason, refused)
        table, wrong = self._table(rows)
        if not wrong:
            return table, indexes
        texts = dict(zip(group.indexes.tolist(), group.contents, strict=True))
        beyond = OverflowError("a number that is beyond its type")
        return base.without((table, indexes), {row: reason(texts[int(indexes[row])], beyond) for row in wrong}, refused)

    def _good(self, group: Group, reason: Reason, refused: dict[int, str]) -> tuple[list[Any], np.ndarray]:
        rows, indexes = [], []
        for index, text in zip(group.indexes.tolist(), group.contents, strict=True):
            try:
                rows.append(self._nested(text))
                indexes.append(index)
            except _BROKEN as error:
                refused[index] = reason(text, error)
        return rows, base.numbers(indexes)

    def _nested(self, text: bytes) -> Any:
        """One that may have lists and objects where strings are."""
        row = self.decode_any(text)
        for field in self.texts:
            found = bytes(getattr(row, field))
            setattr(row, field, found.decode() if found.startswith(NESTED) else _STRING(found))
        return row

    def _table(self, rows: list[Any]) -> tuple[pa.Table, set[int]]:
        """As columns, and the rows with a number beyond its column's type."""
        columns, wrong = [], set[int]()
        for column, value in zip(self.schema, self.values, strict=True):
            found, beyond = base.column(list(map(value, rows)), written(column.type))
            columns.append(found)
            wrong |= set(beyond)
        return pa.Table.from_arrays(columns, names=self.schema.names), wrong
