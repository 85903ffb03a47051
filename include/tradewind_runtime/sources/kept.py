"""Parts of a Kafka message that the YAML keeps as columns: key, headers, timestamp, partition, offset."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from tradewind_runtime.contract.sources import KeptPart, Source
from tradewind_runtime.sources.columns import TIMESTAMP, type_of

if TYPE_CHECKING:
    from tradewind_runtime.sources.kafka_rows import Messages

Headers = Sequence[tuple[str, bytes | str | None]] | Mapping[str, bytes | str | None]
#: A key has the type that `columns` gives its column, else bytes; headers are JSON.
_USUAL: Mapping[KeptPart, pa.DataType] = {
    "key": pa.binary(), "headers": pa.string(), "timestamp": TIMESTAMP, "partition": pa.int32(), "offset": pa.int64(),
}  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """What a source keeps."""

    columns: Mapping[KeptPart, str]
    schema: pa.Schema

    @classmethod
    def of(cls, source: Source) -> Kept:
        """As the YAML says."""
        assert source.kafka is not None
        columns, named = source.kafka.keep, source.columns or {}
        types = {
            name: type_of(named[name]) if part == "key" and name in named else _USUAL[part]
            for part, name in columns.items()
        }
        return cls(columns, pa.schema(list(types.items())))

    def without(self, schema: pa.Schema) -> pa.Schema:
        """The columns that come from the messages' values."""
        return pa.schema([one for one in schema if one.name not in self.schema.names])

    def table(self, messages: Messages) -> pa.Table:
        """One row a message; a key is not converted yet."""
        arrays: dict[KeptPart, Callable[[], pa.Array]] = {
            "key": lambda: pa.array(messages.keys, pa.binary()),
            "headers": lambda: pa.array(messages.headers, pa.string()),
            "timestamp": messages.moments,
            "partition": lambda: pa.array(messages.partitions, pa.int32()),
            "offset": lambda: pa.array(messages.offsets, pa.int64()),
        }
        return pa.table({name: arrays[part]() for part, name in self.columns.items()})


def headers_as_json(headers: Headers | None) -> str | None:
    """[[name, value], …], for a name may be there twice; a value that is no text as {"base64": …}."""
    if headers is None:
        return None
    found = headers.items() if isinstance(headers, Mapping) else headers
    return json.dumps([[name, _text(value)] for name, value in found], ensure_ascii=False)


def _text(value: bytes | str | None) -> str | dict[str, str] | None:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
