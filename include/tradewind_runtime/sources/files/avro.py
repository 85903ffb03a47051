"""Avro's object container files, some blocks at a time, by the schema that each has at its head."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa

from tradewind_runtime.sources.files.base import BLOCK, ROWS, Blocks, FileRows, column_names, stream
from tradewind_runtime.sources.messages.avro import Written, columns_of

CONTENTS = "json"


def opened(path: Path, rows: FileRows) -> Blocks:
    """A file's rows, by its own schema."""
    with stream(path) as content:
        written = _written(_told(fastavro.block_reader, content).metadata)
    rows.names = column_names([field["name"] for field in written.schema["fields"]], rows.origin)
    rows.columns.settle(columns_of([], written)[0].schema)
    return _blocks(path, written, rows)


def _written(head: dict[str, str]) -> Written:
    """The schema of a head, if a file of it has an end."""
    try:
        written = Written.parse(head["avro.schema"], {})
    except (KeyError, ValueError) as error:
        msg = f"no schema that can be used: {error}"
        raise pa.ArrowInvalid(msg) from error
    if written.endless:
        msg = "no schema that can be used: a record of it may contain another of its kind"
        raise pa.ArrowInvalid(msg)
    if written.weightless:
        msg = "no schema that can be used: a record of it takes no byte, so a block may have any number"
        raise pa.ArrowInvalid(msg)
    return written


def _blocks(path: Path, written: Written, rows: FileRows) -> Blocks:
    start = 0
    for records in _some(path):
        table, wrong = columns_of(records, written, rows.columns.wants)
        numbers = np.arange(start, start + len(records))
        start += len(records)
        for row, reason in sorted(wrong.items()):
            rows.refuse(int(numbers[row]), reason, json.dumps(records[row], default=str).encode())
        kept = np.delete(np.arange(len(numbers)), sorted(wrong))
        yield (table.take(pa.array(kept)) if wrong else table), numbers[kept]


def _some(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Records of as many blocks as are worth a batch; a block is whole or the file is broken."""
    records: list[dict[str, Any]] = []
    size = 0
    with stream(path) as content:
        blocks = _told(fastavro.block_reader, content)
        while (block := _told(next, blocks, None)) is not None:
            records += _told(list, block)
            size += block.size
            if len(records) >= ROWS or size >= BLOCK:
                yield records
                records, size = [], 0
    if records:
        yield records


def _told(read: Any, *words: Any) -> Any:
    """What fastavro reads; a broken file makes errors of any kind."""
    try:
        return read(*words)
    except Exception as error:
        msg = f"{type(error).__name__} {error}".strip()
        raise pa.ArrowInvalid(msg) from error
