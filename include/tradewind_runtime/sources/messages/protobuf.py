"""Protobuf messages, by the schema with which each was written: from a registry, or the one of a file.

A schema is a text, compiled by protoc when it is first met.
"""

from __future__ import annotations

import base64
import operator
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources import Access, nested
from tradewind_runtime.sources.messages import base, wire
from tradewind_runtime.sources.messages.base import Group
from tradewind_runtime.sources.newcolumns import Columns
from tradewind_runtime.sources.schema_registry import Schema, SchemaRegistry

_OWN = "tradewind-own-schema.proto"  # how a registry's text is called, which has no name
VARINT = 10  # bytes at most
_NOISE = re.compile(r"WARNING: All log messages|[WI]\d{4} ")  # of the compiler's own log


def decoder(source: Source, columns: Columns, access: Access) -> Decoder:
    """By the registry that the source names, else by its file.

    Raises:
        StepError: TW527 where the file cannot be compiled, or has no such message.
    """
    if access.registry is not None:
        return Decoder(columns, registry=SchemaRegistry(access.registry))
    assert source.kafka is not None
    assert source.kafka.schema_file is not None
    folder = access.schema_folder()
    try:
        compiled = Compiled.of({}, source.kafka.schema_file, folder)
        return Decoder(columns, fixed=compiled.named(source.kafka.message))
    except ValueError as error:
        raise StepError("TW527", f"the schema file cannot be used: {error}", retryable=False) from error


@dataclass(frozen=True)
class Compiled:
    """A schema's text, as descriptors."""

    pool: descriptor_pool.DescriptorPool
    file: str

    @classmethod
    def of(cls, texts: Mapping[str, str], file: str, folder: Path | None = None) -> Compiled:
        """Compile a file and those that it imports.

        Args:
            texts: files by their names.
            file: the one that is meant.
            folder: where more files are.

        Raises:
            ValueError: what protoc says.
        """
        with tempfile.TemporaryDirectory() as made:
            for name, text in texts.items():
                path = Path(made) / name
                if not path.resolve().is_relative_to(Path(made).resolve()):
                    msg = f"a schema's name leads out of its folder: {name}"
                    raise ValueError(msg)
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
                except OSError as error:  # `a` and `a/b`
                    raise ValueError(f"a schema cannot have the name {name}: {error.strerror}") from error
            folders = [Path(made)] if folder is None else [folder, Path(made)]
            return cls.made(_protoc(folders, [file]), file)

    @classmethod
    def made(cls, files: Iterable[FileDescriptorProto], file: str) -> Compiled:
        """Of descriptors, each after those that it imports.

        Raises:
            ValueError: where they do not fit each other.
        """
        pool = descriptor_pool.DescriptorPool()
        try:
            for one in files:
                pool.Add(one)
            pool.FindFileByName(file)
        except (TypeError, KeyError) as error:
            raise ValueError(str(error)[:500]) from error
        return cls(pool, file)

    def named(self, name: str | None) -> type[Message]:
        """A message by its name, with or without its package; the file's first by default.

        Raises:
            ValueError: where there is none.
        """
        found = self.pool.FindFileByName(self.file)
        messages: dict[str, Descriptor] = found.message_types_by_name
        if name is None and messages:
            return _class(next(iter(messages.values())))
        short = (name or "").removeprefix(f"{found.package}.")
        if short not in messages:
            msg = f"{self.file} has no message {name or 'at all'}; it has {', '.join(messages) or 'none'}"
            raise ValueError(msg)
        return _class(messages[short])

    def at(self, path: Sequence[int]) -> type[Message] | None:
        """A message by its place among the file's, and among those within it."""
        types: Sequence[Descriptor] = list(self.pool.FindFileByName(self.file).message_types_by_name.values())
        found: Descriptor | None = None
        for index in path:
            if not 0 <= index < len(types):
                return None
            found = types[index]
            types = found.nested_types
        return None if found is None else _class(found)


def _class(of: Descriptor) -> type[Message]:
    found: type[Message] = message_factory.GetMessageClass(of)
    return found


class Decoder(base.Decoder):
    """Decodes messages."""

    def __init__(
        self,
        columns: Columns,
        *,
        registry: SchemaRegistry | None = None,
        fixed: type[Message] | None = None,
    ) -> None:
        super().__init__(columns)
        self._registry, self._fixed = registry, fixed
        self._compiled: dict[int, Compiled | str] = {}

    def _parts(self, messages: Sequence[bytes | None], refused: dict[int, str]) -> Iterator[base.Part]:
        if self._registry is not None:
            for compiled, group in wire.groups(messages, refused, self._writer):
                for kind, members in _by_message(compiled, group, refused):
                    yield self._read(members, kind, refused, writers=True)
        elif self._fixed is not None:
            yield self._read(base.present(messages, refused), self._fixed, refused, writers=False)

    def _read(self, group: Group, kind: type[Message], refused: dict[int, str], *, writers: bool) -> base.Part:
        """Args: `writers`: the schema is the one of the writer, so that a field which it has not is a mistake."""
        found, kept = [], []
        for index, content in zip(group.indexes, group.contents, strict=True):
            try:
                message = kind.FromString(content)
            except DecodeError as error:
                refused[int(index)] = f"not a Protobuf message {kind.DESCRIPTOR.full_name}: {error}"
                continue
            if writers and len(UnknownFieldSet(message)):
                refused[int(index)] = f"not a Protobuf message {kind.DESCRIPTOR.full_name}: it has other fields"
                continue
            found.append(message)
            kept.append(int(index))
        table, wrong = _columns(found, kind.DESCRIPTOR, self.columns.wants)
        return base.without((table, base.numbers(kept)), wrong, refused)

    def _writer(self, number: int) -> Compiled | str:
        if number not in self._compiled:
            assert self._registry is not None
            self._compiled[number] = _compiled(number, self._registry.schema(number))
        return self._compiled[number]


def _by_message(compiled: Compiled, group: Group, refused: dict[int, str]) -> Iterator[tuple[type[Message], Group]]:
    """A schema has many messages; each content begins with the place of its own."""
    places: dict[tuple[int, ...], list[tuple[int, bytes]]] = {}
    for index, content in zip(group.indexes, group.contents, strict=True):
        try:
            place, rest = _place(content)
        except IndexError:
            refused[int(index)] = "ends within the place of its message"
            continue
        places.setdefault(place, []).append((int(index), rest))
    for place, members in places.items():
        kind = compiled.at(place)
        indexes = [index for index, _ in members]
        if kind is None:
            refused |= dict.fromkeys(indexes, f"its schema has no message at {list(place)}")
        else:
            yield kind, Group([rest for _, rest in members], base.numbers(indexes))


_TYPES = {
    FieldDescriptor.CPPTYPE_INT32: pa.int32(), FieldDescriptor.CPPTYPE_INT64: pa.int64(),
    FieldDescriptor.CPPTYPE_UINT32: pa.uint32(), FieldDescriptor.CPPTYPE_UINT64: pa.uint64(),
    FieldDescriptor.CPPTYPE_DOUBLE: pa.float64(), FieldDescriptor.CPPTYPE_FLOAT: pa.float32(),
    FieldDescriptor.CPPTYPE_BOOL: pa.bool_(), FieldDescriptor.CPPTYPE_ENUM: pa.string(),
}  # fmt: skip
_TIMESTAMP, _WRAPPERS = "google.protobuf.Timestamp", re.compile(r"google\.protobuf\.\w+Value")


def _columns(found: Sequence[Any], of: Descriptor, wants: Callable[[str], bool]) -> tuple[pa.Table, dict[int, str]]:
    """Numbers, texts, bytes, names of an enum's values, times; lists, maps and messages as JSON where they are wanted.

    And of messages with a value that no column can have, such as a time of the year 30000, why.
    """
    columns, wrong = {}, dict[int, str]()
    for one in of.fields:
        kind, value = _field(one)
        if kind is None:
            columns[one.name] = pa.nulls(len(found), nested.UNHELD)
            if wants(one.name):
                columns[one.name], bad = nested.column(found, partial(_plain, one))
                wrong |= dict.fromkeys(bad, base.not_of_its_type(one.name))
            continue
        present = one.has_presence
        values = [None if present and not message.HasField(one.name) else value(message) for message in found]
        columns[one.name], bad = base.column(values, kind)
        wrong |= dict.fromkeys(bad, base.not_of_its_type(one.name))
    return pa.table(columns), wrong


def _plain(one: FieldDescriptor, message: Message) -> Any:
    """A list, a map or a message as Protobuf's own JSON has it; None where it is not there, or empty.

    Raises:
        ValueError: where Protobuf has no JSON of it.
    """
    part, value = type(message)(), getattr(message, one.name)
    if not (value if one.is_repeated else message.HasField(one.name)):
        return None
    getattr(part, one.name).MergeFrom(value)
    pool = message.DESCRIPTOR.file.pool
    try:
        return json_format.MessageToDict(
            part, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, descriptor_pool=pool
        )[one.name]
    except json_format.Error as error:
        raise ValueError(str(error)) from error


def _field(one: FieldDescriptor) -> tuple[pa.DataType | None, Callable[[Any], Any]]:
    """Arrow's type of a field that a table can hold, and how its value is had of a message."""
    get = operator.attrgetter(one.name)
    if one.is_repeated:
        return None, get
    if (inner := one.message_type) is not None:
        if inner.full_name == _TIMESTAMP:
            return pa.timestamp("us", "UTC"), lambda m: get(m).seconds * 1_000_000 + get(m).nanos // 1000
        if _WRAPPERS.fullmatch(inner.full_name) and "value" in inner.fields_by_name:
            return _field(inner.fields_by_name["value"])[0], operator.attrgetter(f"{one.name}.value")
        return None, get
    if one.enum_type is not None:
        names = {value.number: value.name for value in one.enum_type.values}
        return pa.string(), lambda m: names.get(get(m), str(get(m)))
    if one.cpp_type == FieldDescriptor.CPPTYPE_STRING:  # bytes too
        return pa.binary() if one.type == FieldDescriptor.TYPE_BYTES else pa.string(), get
    return _TYPES[one.cpp_type], get


def _compiled(number: int, schema: Schema | None) -> Compiled | str:
    if schema is None:
        return f"the registry has no schema {number}"
    if schema.kind != "PROTOBUF":
        return f"its schema {number} is not of Protobuf but {schema.kind}"
    texts = {**schema.references, _OWN: schema.text}
    try:
        written = [one for text in texts.values() if (one := _descriptor(text)) is not None]
        if len(written) < len(texts):
            return Compiled.of(texts, _OWN)
        return Compiled.made([*_imported(written), *written], written[-1].name)
    except ValueError as error:
        return f"its schema {number} cannot be used: {error}"


def _descriptor(text: str) -> FileDescriptorProto | None:
    """What some languages' serializers register in place of a schema's text: its descriptor, as base64."""
    try:
        return FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (ValueError, DecodeError):
        return None


def _imported(files: Sequence[FileDescriptorProto]) -> Sequence[FileDescriptorProto]:
    """Of Google's own files those that they import, each after those that it imports."""
    named = {name for one in files for name in one.dependency if name.startswith("google/protobuf/")}
    return _protoc([], sorted(named)) if named else []


def _protoc(folders: Sequence[Path], files: Sequence[str]) -> Sequence[FileDescriptorProto]:
    """The descriptors of files of these folders, or of Google's own, each after those that it imports.

    Raises:
        ValueError: what the compiler says.
    """
    with tempfile.TemporaryDirectory() as made:
        out = Path(made) / "descriptors"
        done = subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", *(f"--proto_path={one}" for one in (*folders, _well_known())),
             f"--descriptor_set_out={out}", "--include_imports", *files],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            said = done.stderr
            for folder in folders:
                said = said.replace(f"{folder}/", "")
            raise ValueError("; ".join(line for line in said.splitlines() if not _NOISE.match(line))[:500])
        return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def _place(content: bytes) -> tuple[tuple[int, ...], bytes]:
    """Confluent's message indexes: how many, and each, as zigzag numbers; a single zero is the first message."""
    count, at = _number(content, 0)
    if count == 0:
        return (0,), content[at:]
    place = []
    for _ in range(count):
        index, at = _number(content, at)
        place.append(index)
    return tuple(place), content[at:]


def _number(content: bytes, at: int) -> tuple[int, int]:
    raw = shift = 0
    while shift < 7 * VARINT:
        byte = content[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return (raw >> 1) ^ -(raw & 1), at
    raise IndexError(at)


def _well_known() -> Path:
    """Google's own files, such as google/protobuf/timestamp.proto."""
    import grpc_tools

    return Path(str(grpc_tools.__file__)).parent / "_proto"
