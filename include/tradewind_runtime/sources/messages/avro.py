"""Avro records, by the schema with which each was written: from a registry, or the one of a file.

Many records are put into one Avro container and read by Polars, a tenth of a microsecond's work where a parser of
single records takes five. A mark is put behind each, as the last field of the schema, so that a broken one can neither
join nor split its neighbours unseen. What Polars cannot read (unions of several types, types that contain themselves)
is read by fastavro, one by one; so are lists, records and maps where they are wanted, since Polars cuts off numbers
within them.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from fastavro.schema import SchemaParseException, expand_schema

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources import Access, nested
from tradewind_runtime.sources.messages import base, wire
from tradewind_runtime.sources.messages.base import Group, UnreadableError
from tradewind_runtime.sources.newcolumns import Columns
from tradewind_runtime.sources.schema_registry import SchemaRegistry

MARK = "__tradewind_mark"
DEEP = 2_000  # bytes of a record that may contain itself: each may be a level, and a parser has so many
_SYNC = b"tradewind's sync"


def decoder(source: Source, columns: Columns, access: Access) -> Decoder:
    """By the registry that the source names, else by its file.

    Raises:
        StepError: TW527 where the file holds no schema of a record.
    """
    if access.registry is not None:
        return Decoder(columns, registry=SchemaRegistry(access.registry))
    assert source.kafka is not None
    assert source.kafka.schema_file is not None
    try:
        text = (access.schema_folder() / source.kafka.schema_file).read_text()
        return Decoder(columns, fixed=Written.parse(text, {}))
    except ValueError as error:
        raise StepError("TW527", f"the schema file is not of Avro: {error}", retryable=False) from error


@dataclass(frozen=True)
class Written:
    """One writer's schema."""

    schema: Mapping[str, Any]  # of a record, with nothing that is named only
    parsed: Any  # the same for fastavro

    @classmethod
    def parse(cls, text: str, references: Mapping[str, str]) -> Written:
        """From JSON, with the schemas that it refers to.

        Raises:
            ValueError: where it is none of a record, and why.
        """
        names: dict[str, Any] = {}
        try:
            for other in references.values():
                fastavro.parse_schema(json.loads(other), named_schemas=names)
            body = json.loads(text)
            whole = [*map(json.loads, references.values()), body]
            parsed = fastavro.parse_schema(body, named_schemas=names)
            expanded = expand_schema(whole)[-1] if references else expand_schema(body)
        except (ValueError, SchemaParseException, KeyError, TypeError) as error:
            raise ValueError(str(error)[:200]) from error
        if not isinstance(expanded, dict) or expanded.get("type") != "record" or not expanded.get("fields"):
            msg = "it is not the schema of a record with fields"
            raise ValueError(msg)
        if _weightless_lists(expanded):
            msg = "a list of what takes no byte may have any length"
            raise ValueError(msg)
        return cls(expanded, parsed)

    @cached_property
    def head(self) -> bytes:
        """A container's, with the mark as last field."""
        fields = [one | {"type": _long_for_less(one["type"])} for one in self.schema["fields"]]
        fields.append({"name": MARK, "type": "long"})
        text = json.dumps({"type": "record", "name": "Marked", "fields": list(map(_without_maps, fields))})
        meta = {"avro.codec": b"null", "avro.schema": text.encode()}
        items = b"".join(_bytes(key.encode()) + _bytes(value) for key, value in meta.items())
        return b"Obj\x01" + _long(len(meta)) + items + _long(0) + _SYNC

    @cached_property
    def endless(self) -> bool:
        """Whether a record may contain another of its kind."""
        return any(one not in _PRIMITIVE and one != "null" for one in _named(self.schema))

    @cached_property
    def nested(self) -> frozenset[str]:
        """Fields that are lists, records or maps."""
        return frozenset(one["name"] for one in self.schema["fields"] if _is_nested(one["type"]))

    @property
    def weightless(self) -> bool:
        """Whether a record takes no byte."""
        return _weightless(self.schema)

    @cached_property
    def quick(self) -> bool:
        """Whether Polars can read it."""
        if self.endless:
            return False
        try:
            pl.read_avro(io.BytesIO(self.head))
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            return False
        return True


class Decoder(base.Decoder):
    """Decodes records."""

    def __init__(
        self, columns: Columns, *, registry: SchemaRegistry | None = None, fixed: Written | None = None
    ) -> None:
        super().__init__(columns)
        self._registry, self._fixed = registry, fixed
        self._written: dict[int, Written | str] = {}
        self._mark = secrets.randbits(62)  # no message's end is it by chance, or by a producer's design

    def _parts(self, messages: Sequence[bytes | None], refused: dict[int, str]) -> Iterator[base.Part]:
        if self._registry is not None:
            for written, group in wire.groups(messages, refused, self._writer):
                yield self._read(group, written, refused)
        elif self._fixed is not None:
            yield self._read(base.present(messages, refused), self._fixed, refused)

    def _read(self, group: Group, written: Written, refused: dict[int, str]) -> base.Part:
        """Together where all are whole; else one by one, which tells whose fault it is."""
        if written.quick and not any(map(self.columns.wants, written.nested)):
            with suppress(UnreadableError):
                return _together(group.contents, written, self._mark), group.indexes
        rows, kept = [], []
        for index, content in zip(group.indexes, group.contents, strict=True):
            try:
                rows.append(_one(content, written))
                kept.append(int(index))
            except UnreadableError as error:
                refused[int(index)] = f"not an Avro record of its schema: {error}"
        table, wrong = columns_of(rows, written, self.columns.wants)
        return base.without((table, base.numbers(kept)), wrong, refused)

    def _writer(self, number: int) -> Written | str:
        if number not in self._written:
            self._written[number] = self._ask(number)
        return self._written[number]

    def _ask(self, number: int) -> Written | str:
        assert self._registry is not None
        found = self._registry.schema(number)
        if found is None:
            return f"the registry has no schema {number}"
        if found.kind != "AVRO":
            return f"its schema {number} is not of Avro but {found.kind}"
        try:
            return Written.parse(found.text, found.references)
        except ValueError as error:
            return f"its schema {number} cannot be used: {error}"


def _together(contents: list[bytes], written: Written, mark: int) -> pa.Table:
    end = _long(mark)
    block = end.join(contents) + end
    container = written.head + _long(len(contents)) + _long(len(block)) + block + _SYNC
    try:
        table = _of_longs(pl.read_avro(io.BytesIO(container)).to_arrow(), written)
        table.validate(full=True)  # a decimal of too many digits, or a time of none of a day, would else become another
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise
        raise UnreadableError(str(error)) from error
    if table.num_rows != len(contents) or not pc.all(pc.equal(table[MARK], mark)).as_py():
        raise UnreadableError("a record ends early or late")
    return table.drop_columns([MARK])


#: Types that Polars would cut off, or make nanoseconds or null of, and the numbers that they are.
_NUMBERS = {
    pa.int32(): pa.int32(), pa.date32(): pa.int32(), pa.time32("ms"): pa.int32(), pa.time64("us"): pa.int64(),
}  # fmt: skip


def _of_longs(table: pa.Table, written: Written) -> pa.Table:
    """With values of these types instead of the long numbers that Polars has read."""
    for index, field in enumerate(written.schema["fields"]):
        kind = _scalar(field["type"])
        if kind in _NUMBERS:
            table = table.set_column(index, field["name"], table.column(index).cast(_NUMBERS[kind]).cast(kind))
    return table


def columns_of(
    rows: list[dict[str, Any]], written: Written, wants: Callable[[str], bool] = lambda _: True
) -> tuple[pa.Table, dict[int, str]]:
    """The rows' columns, and of rows with a value that is none of its field's type, why.

    Args:
        rows: by the names of their fields.
        written: their schema.
        wants: whether a field's lists, records or maps are asked for.
    """
    columns, wrong = {}, dict[int, str]()
    for field in written.schema["fields"]:
        name = field["name"]
        values = [row[name] for row in rows]
        kind = _scalar(field["type"])
        if kind is not None:
            texts = pa.types.is_string(kind)  # fastavro makes an object of a UUID
            columns[name], bad = base.column([_text(one) for one in values] if texts else values, kind)
            wrong |= dict.fromkeys(bad, base.not_of_its_type(name))
        elif name in written.nested and wants(name):
            columns[name], bad = nested.column(values)
            wrong |= dict.fromkeys(bad, base.not_of_its_type(name))
        else:
            columns[name] = pa.nulls(len(values), nested.UNHELD)
    return pa.table(columns), wrong


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _one(content: bytes, written: Written) -> dict[str, Any]:
    if written.endless and len(content) > DEEP:
        raise UnreadableError(f"its schema contains itself, and it is larger than {DEEP} bytes")
    stream = io.BytesIO(content)
    try:
        row = fastavro.schemaless_reader(stream, written.parsed, None)
    except Exception as error:  # whatever a broken record makes of it
        raise UnreadableError(f"{type(error).__name__} {error}".strip()) from error
    if left := len(content) - stream.tell():
        raise UnreadableError(f"{left} bytes are left after it")
    assert isinstance(row, dict)
    return row


DIGITS = 38  # of a decimal that a table can hold

#: Avro's primitive types, and its logical ones.
_PRIMITIVE = {
    "boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "float": pa.float32(), "double": pa.float64(),
    "string": pa.string(), "bytes": pa.binary(), "enum": pa.string(), "fixed": pa.binary(),
}  # fmt: skip
_LOGICAL = {
    "date": pa.date32(), "timestamp-millis": pa.timestamp("ms", "UTC"), "timestamp-micros": pa.timestamp("us", "UTC"),
    "uuid": None, "time-millis": pa.time32("ms"), "time-micros": pa.time64("us"),
    "local-timestamp-millis": pa.timestamp("ms"), "local-timestamp-micros": pa.timestamp("us"),
}  # fmt: skip


def _scalar(kind: Any) -> pa.DataType | None:
    """Arrow's type of a field that a table can hold."""
    if isinstance(kind, list):
        others = [one for one in kind if one != "null"]
        return _scalar(others[0]) if len(others) == 1 else None
    if isinstance(kind, str):
        return _PRIMITIVE.get(kind)
    logical = kind.get("logicalType")
    if logical == "decimal":
        return pa.decimal128(kind["precision"], kind.get("scale", 0)) if kind["precision"] <= DIGITS else None
    return _LOGICAL.get(logical) or _PRIMITIVE.get(kind["type"])


def _is_nested(kind: Any) -> bool:
    if isinstance(kind, list):
        others = [one for one in kind if one != "null"]
        return len(others) == 1 and _is_nested(others[0])
    if isinstance(kind, str):  # the name of a record that this is within
        return kind != "null" and kind not in _PRIMITIVE
    return kind["type"] in ("array", "map", "record", "error")


def _weightless_lists(schema: Any) -> bool:
    """Whether a broken record of it could be read for ever."""
    if isinstance(schema, list):
        return any(map(_weightless_lists, schema))
    if not isinstance(schema, dict):
        return False
    inner = [schema.get(key) for key in ("type", "items", "values")] + [one["type"] for one in schema.get("fields", ())]
    return ("items" in schema and _weightless(schema["items"])) or any(map(_weightless_lists, inner))


def _weightless(schema: Any) -> bool:
    """Whether a value of it takes no byte."""
    if isinstance(schema, dict):
        if schema["type"] == "record":
            return all(_weightless(one["type"]) for one in schema["fields"])
        return (schema["type"] == "fixed" and schema["size"] == 0) or _weightless(schema["type"])
    return bool(schema == "null")  # a union says which of its types there is


def _named(schema: Any) -> Iterator[str]:
    """Types that are told by a name alone: primitive ones, and of records those that contain themselves."""
    if isinstance(schema, str):
        yield schema
    elif isinstance(schema, list):
        for one in schema:
            yield from _named(one)
    elif schema["type"] in ("record", "error"):
        for one in schema["fields"]:
            yield from _named(one["type"])
    elif schema["type"] not in ("enum", "fixed"):
        for key in ("type", "items", "values"):
            if key in schema and schema[key] not in ("array", "map"):
                yield from _named(schema[key])


def _without_maps(schema: Any) -> Any:
    """The same bytes, read as a list of pairs: Polars knows no maps."""
    if isinstance(schema, list):
        return [_without_maps(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "map":
        fields = [{"name": "key", "type": "string"}, {"name": "value", "type": _without_maps(schema["values"])}]
        return {"type": "array", "items": {"type": "record", "name": f"Pair{id(schema)}", "fields": fields}}
    inner = {key: _without_maps(schema[key]) for key in ("type", "items", "fields") if key in schema}
    return {**schema, **inner}


def _long_for_less(schema: Any) -> Any:
    """The same bytes, as a number with no meaning: Polars cuts off ints, and makes null of times it does not know."""
    if isinstance(schema, list):
        return [_long_for_less(one) for one in schema]
    kind = schema["type"] if isinstance(schema, dict) else schema
    micros = kind == "long" and isinstance(schema, dict) and schema.get("logicalType") == "time-micros"
    return "long" if kind == "int" or micros else schema


def _long(number: int) -> bytes:
    """Avro's way of writing one: zigzag, seven bits a byte."""
    rest, found = (number << 1) ^ (number >> 63), bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    found.append(rest)
    return bytes(found)


def _bytes(content: bytes) -> bytes:
    return _long(len(content)) + content
