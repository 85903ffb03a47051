"""JSON texts to typed columns, quickly, and each text that cannot be read singled out.

All texts are parsed at once by Arrow, each wrapped as `{"v": …}` on a line of its own, so that a
broken one can neither join nor split its neighbours unseen: there must be as many rows as texts.
Where that fails, the texts are halved until the broken ones stand alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from tradewind_runtime.sources.columns import NAME, RESERVED, conform, plain, word


@dataclass
class Decoder:
    """Decodes JSON texts into columns; with `infer`, columns that it meets are added as it goes."""

    schema: pa.Schema
    infer: bool = False
    left_out: set[str] = field(default_factory=set)  # inferred columns that a table cannot have

    def decode(self, texts: Sequence[bytes | None]) -> tuple[pa.Table, np.ndarray, dict[int, str]]:
        """Rows, their indexes among the texts, and a reason for each of the others."""
        refused: dict[int, str] = {}
        candidates = _utf8(texts, refused)
        parts: list[tuple[pa.Table, np.ndarray]] = []
        self._parse([texts[i] or b"" for i in candidates], np.array(candidates, dtype=np.int64), parts, refused)
        tables, kept = [], []
        for table, indexes in parts:
            good = conform(table, self.schema)
            refused |= {int(indexes[row]): reason for row, reason in good.refused.items()}
            tables.append(good.rows)
            kept.append(indexes[good.kept])
        rows = pa.concat_tables(tables) if tables else self.schema.empty_table()
        order = np.concatenate(kept) if kept else np.array([], dtype=np.int64)
        return rows, order, refused

    def _parse(
        self,
        texts: list[bytes],
        indexes: np.ndarray,
        parts: list[tuple[pa.Table, np.ndarray]],
        refused: dict[int, str],
    ) -> None:
        if not texts:
            return
        try:
            values = self._read(texts)
            values = self._checked(values)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if len(texts) == 1:
                refused[int(indexes[0])] = _reason(texts[0], self.schema, error)
                return
            half = len(texts) // 2
            self._parse(texts[:half], indexes[:half], parts, refused)
            self._parse(texts[half:], indexes[half:], parts, refused)
            return
        parts.append((values, indexes))

    def _read(self, texts: list[bytes]) -> pa.StructArray:
        blob = b'{"v":' + b'}\n{"v":'.join(texts) + b"}"
        wanted = pa.struct([pa.field(f.name, _written(f.type)) for f in self.schema])
        table = pj.read_json(
            pa.BufferReader(blob),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(blob) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=pa.schema([("v", wanted)]),
                unexpected_field_behavior="infer" if self.infer else "ignore",
            ),
        )
        if table.num_rows != len(texts):
            raise pa.ArrowInvalid("more than one JSON value in a text")
        values = table.column("v").combine_chunks()
        return values.chunk(0) if isinstance(values, pa.ChunkedArray) else values

    def _checked(self, values: pa.StructArray) -> pa.Table:
        """Refuse what the parser lets through: null for an object, NaN and infinity; learn new columns."""
        if values.null_count:
            raise pa.ArrowInvalid("null where an object is expected")
        table = pa.Table.from_arrays(values.flatten(), names=[f.name for f in values.type])
        for column in table.columns:
            if pa.types.is_floating(column.type) and pc.all(pc.is_finite(column)).as_py() is False:
                raise pa.ArrowInvalid("NaN or infinity, which JSON has not")
        if self.infer:
            self._learn(table.schema)
        return table

    def _learn(self, found: pa.Schema) -> None:
        for column in found:
            if column.name in self.schema.names:
                continue
            kind = plain(column.type)
            if kind is not None and NAME.fullmatch(column.name) and column.name not in RESERVED:
                self.schema = self.schema.append(pa.field(column.name, kind))
            elif not pa.types.is_null(column.type):
                self.left_out.add(column.name)


def _utf8(texts: Sequence[bytes | None], refused: dict[int, str]) -> list[int]:
    """Indexes of the texts that are UTF-8; Arrow's JSON parser would let the others through."""
    array = pa.array(texts, pa.binary())
    if array.null_count == 0:
        try:
            array.cast(pa.string())
            return list(range(len(texts)))
        except pa.ArrowInvalid:
            pass
    good = []
    for index, text in enumerate(texts):
        if text is None:
            refused[index] = "no content (a tombstone)"
            continue
        try:
            text.decode()
            good.append(index)
        except UnicodeDecodeError as error:
            refused[index] = f"not UTF-8: byte {error.start}"
    return good


def _written(kind: pa.DataType) -> pa.DataType:
    """How JSON writes a type: times, dates and bytes are strings."""
    return pa.string() if pa.types.is_temporal(kind) or pa.types.is_binary(kind) else kind


def _reason(text: bytes, schema: pa.Schema, error: Exception) -> str:
    """Why one text was refused, in words for people; the decision has been taken already."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except ValueError as problem:
        return f"not JSON: {problem}"
    if not isinstance(value, dict):
        return f"{_kind(value)} where an object is expected"
    for column in schema:
        found = value.get(column.name)
        if found is not None and not _fits(found, column.type):
            return f"column {column.name}: {_kind(found)} {json.dumps(found)[:80]} is not of type {word(column.type)}"
    return f"not readable: {error}"


def _refuse(constant: str) -> None:
    msg = f"{constant} is not JSON"
    raise ValueError(msg)


def _fits(value: object, kind: pa.DataType) -> bool:
    if pa.types.is_boolean(kind):
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if pa.types.is_integer(kind):
        return isinstance(value, int) and -(2 ** (kind.bit_width - 1)) <= value < 2 ** (kind.bit_width - 1)
    if pa.types.is_floating(kind):
        return isinstance(value, int | float)
    return isinstance(value, str)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "the string", bool: "the boolean", type(None): "null"}
    return names.get(type(value), "the number")
