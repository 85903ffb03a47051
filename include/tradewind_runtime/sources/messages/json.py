"""JSON texts, one object each.

Where columns are yet to be found, all texts are parsed at once by Arrow, each wrapped as `{"v": …}` on a line of its
own, so that a broken one can neither join nor split its neighbours unseen: there must be as many rows as texts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.columns import conform, convert, word
from tradewind_runtime.sources.messages import base
from tradewind_runtime.sources.messages.base import Group, UnreadableError
from tradewind_runtime.sources.messages.json_known import NESTED, reader, written
from tradewind_runtime.sources.messages.json_lines import CHUNK, LEVELS, Lines, most_marks
from tradewind_runtime.sources.newcolumns import Columns


def decoder(source: Source, columns: Columns, access: Access) -> Decoder:
    """It needs to know nothing else."""
    del source, access
    return Decoder(columns)


TOO_DEEP = f"nested more than {LEVELS} deep"
_VALUES = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ZERO = re.compile(rb"-0(?![.\deE])")
_MARKS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


class Decoder(base.Decoder):
    """Decodes JSON objects."""

    others: bool = False  # whether lines have been seen with what is not read of them
    nested: bool = False  # whether lists and objects have been seen that a column of strings holds

    def together(self, block: bytes) -> pa.Table | None:
        """Rows of lines that are an object of the known columns each; None where one may not be, or is not told to be.

        All cores parse at once, so one is as good as the others, or all are to be read by themselves.
        """
        if self.columns.looks or (lines := Lines.of(block)) is None:
            return None
        table = None if self.others else self._together(lines, "error")
        if table is None and self.others and lines.harmless:
            table = self._together(lines, "ignore")
        return table

    def _together(self, lines: Lines, others: str) -> pa.Table | None:
        try:
            table = _checked(_parsed(lines.text, _wanted(self.schema), pj.ReadOptions(block_size=CHUNK), others))
        except pa.ArrowInvalid as error:
            self.others = self.others or "unexpected field" in str(error)
            return None
        good = conform(table, self.schema)
        if good.refused or table.num_rows != len(lines):
            return None
        return None if any(_ZERO.search(lines[row]) for row in _zeros(good.rows)) else good.rows

    def _parts(self, messages: Sequence[bytes | None], refused: dict[int, str]) -> Iterator[base.Part]:
        group = _shallow(_texts(messages, refused), refused)
        known = None if self.columns.looks else reader(self.schema)
        if known is not None:
            yield known.read(group, self._reason, refused)
            return
        if not self.nested:
            with suppress(UnreadableError):
                table = self._read(group.contents)
                if not any(map(pa.types.is_nested, table.schema.types)):
                    yield table, group.indexes
                    return
        yield from base.halved(self._plain(group, refused), self._read, self._reason, refused)

    def _plain(self, group: Group, refused: dict[int, str]) -> Group:
        """Those that are JSON, plainer: Arrow lets other texts through within a list."""
        contents, kept = [], []
        for index, text in zip(group.indexes.tolist(), group.contents, strict=True):
            try:
                contents.append(self._plainer(text))
                kept.append(index)
            except msgspec.MsgspecError as error:
                refused[index] = self._reason(text, error)
        return Group(contents, base.numbers(kept))

    def _plainer(self, text: bytes) -> bytes:
        """With lists and objects as strings of JSON, in which Arrow allows less than JSON does, and each name once."""
        values = _VALUES.decode(text)
        plain: dict[str, msgspec.Raw | str] = dict(values)
        for name, value in values.items():
            if (written := bytes(value)).startswith(NESTED) and self._is_text(name):
                plain[name] = written.decode()
                self.nested = True
        return msgspec.json.encode(plain)

    def _is_text(self, name: str) -> bool:
        """Whether a column holds strings, or is not known yet."""
        return name not in self.schema.names or bool(pa.types.is_string(self.schema.field(name).type))

    def _reason(self, text: bytes, error: Exception) -> str:
        return _reason(text, self.schema, error)

    def _read(self, texts: list[bytes]) -> pa.Table:
        try:
            return _checked(_unwrapped(self._rows(texts)))
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise UnreadableError(str(error)) from error

    def _rows(self, texts: list[bytes]) -> pa.StructArray:
        blob = b'{"v":' + b'}\n{"v":'.join(texts) + b"}"
        wanted = pa.schema([("v", pa.struct(_wanted(self.schema)))])
        once = pj.ReadOptions(use_threads=False, block_size=len(blob) + 1)
        table = _parsed(blob, wanted, once, "infer" if self.columns.looks else "ignore")
        if table.num_rows != len(texts) or table.num_columns > 1:
            raise pa.ArrowInvalid("more than one JSON value in a text")
        if not self.columns.looks:  # then nothing is told of what stands beside the first
            _alone(texts)
        return table.column("v").chunk(0)  # of one block; Arrow cannot put lists of nulls together


def _zeros(table: pa.Table) -> set[int]:
    """Rows with a negative one: `-0` is one to Arrow, and not to others; to all of them `-0.0` is."""
    floats = [column for column in table.columns if pa.types.is_floating(column.type)]
    negative = (pc.equal(pc.divide(1.0, column), -math.inf) for column in floats)
    return {row for found in negative for row in pc.indices_nonzero(found).to_pylist()}


def _alone(texts: Sequence[bytes]) -> None:
    try:
        for text in texts:
            _VALUES.decode(text)
    except msgspec.MsgspecError as error:
        raise pa.ArrowInvalid(str(error)) from None


def _wanted(schema: pa.Schema) -> pa.Schema:
    return pa.schema([column.with_type(written(column.type)) for column in schema])


def _parsed(lines: bytes, wanted: pa.Schema, options: pj.ReadOptions, others: str) -> pa.Table:
    parse = pj.ParseOptions(explicit_schema=wanted, unexpected_field_behavior=others)
    return pj.read_json(pa.BufferReader(lines), options, parse)


def _unwrapped(values: pa.StructArray) -> pa.Table:
    if values.null_count:
        raise pa.ArrowInvalid("null where an object is expected")
    return pa.Table.from_arrays(values.flatten(), names=[f.name for f in values.type])


def _checked(table: pa.Table) -> pa.Table:
    """Refuse what the parser lets through: NaN and infinity, a decimal of too many digits."""
    for column in table.columns:
        if pa.types.is_floating(column.type) and pc.all(pc.is_finite(column)).as_py() is False:
            raise pa.ArrowInvalid("NaN or infinity, which JSON has not")
        if pa.types.is_decimal(column.type):
            column.validate(full=True)
    return table


def _texts(messages: Sequence[bytes | None], refused: dict[int, str]) -> Group:
    """Those that are UTF-8: parsers let other bytes through where nothing is read of them."""
    if _all_utf8(messages):
        return Group(cast("list[bytes]", messages), np.arange(len(messages)))
    good = _utf8(messages, refused)
    return Group([messages[index] or b"" for index in good], base.numbers(good))


def _all_utf8(texts: Sequence[bytes | None]) -> bool:
    with suppress(TypeError):  # of a tombstone
        if all(map(bytes.isascii, cast("list[bytes]", texts))):
            return True  # as most are: to see it takes a third
    array = pa.array(texts, pa.binary())
    with suppress(pa.ArrowInvalid):
        array.cast(pa.string())
        return not array.null_count
    return False


def _utf8(texts: Sequence[bytes | None], refused: dict[int, str]) -> list[int]:
    good = []
    for index, text in enumerate(texts):
        if text is None:
            refused[index] = base.TOMBSTONE
            continue
        try:
            text.decode()
            good.append(index)
        except UnicodeDecodeError as error:
            refused[index] = f"not UTF-8: byte {error.start}"
    return good


def _shallow(group: Group, refused: dict[int, str]) -> Group:
    """Without those that are nested so deeply that a parser has no end, or one that others have not."""
    nested = [text for text in group.contents if len(text) > 2 * LEVELS and _is_nested(text)]
    if not nested or _marks_of_texts(pa.array(nested, pa.binary())) <= LEVELS:
        return group
    deep = [row for row, text in enumerate(group.contents) if _depth(text) > LEVELS]
    refused |= {int(group.indexes[row]): TOO_DEEP for row in deep}
    kept = np.delete(np.arange(len(group.contents)), deep)
    return Group([group.contents[row] for row in kept], group.indexes[kept])


def _is_nested(text: bytes) -> bool:
    return text.find(b"{", 1) > 0 or text.find(b"[") >= 0  # `in` takes four times as long


def _marks_of_texts(texts: pa.BinaryArray) -> int:
    _, offsets, data = texts.buffers()
    return most_marks(np.frombuffer(data or b"", np.uint8), np.frombuffer(offsets, np.int32))


def _depth(text: bytes) -> int:
    """Of lists and objects in each other, where it may matter; what is written within quotes does not count."""
    if text.count(b"[") + text.count(b"{") <= LEVELS:
        return 0  # as of nearly all: looked at no closer
    depth = most = 0
    for mark in _MARKS.finditer(text):
        if mark[0] in b"[{":
            depth += 1
            most = max(most, depth)
        elif mark[0] in b"]}":
            depth -= 1
    return most


def _reason(text: bytes, schema: pa.Schema, error: Exception) -> str:
    """Why one text was refused, in words for people; the decision has been taken already."""
    if _depth(text) > LEVELS:
        return TOO_DEEP
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as problem:
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
    if pa.types.is_decimal(kind):
        text, none = base.column([str(value)], pa.string())
        return isinstance(value, int | float | str) and not none and not convert(text, kind)[1]
    return isinstance(value, str | list | dict) if pa.types.is_string(kind) else isinstance(value, str)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "the string", bool: "the boolean", type(None): "null"}
    return names.get(type(value), "the number")
