"""Parquet, a batch at a time.

A small file is in memory before it is decoded, together with others; a larger one is opened again for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tradewind_runtime.sources.files.base import BROKEN, ROWS, SMALL, Blocks, FileRows, Small, column_names

CONTENTS = "json"
#: Bytes that small files decoded at once may come to, if each row had all of its file: a dictionary may hide as much.
TOGETHER = 256 * 1024 * 1024
COLUMN = 2_048  # bytes, about, that is known of a column, or of a row group's part of it
_IN_MEMORY = ds.ParquetFileFormat(default_fragment_scan_options=ds.ParquetFragmentScanOptions(pre_buffer=False))
_PREFIX = "Could not open Parquet input source '<Buffer>': "


def opened(path: Path, rows: FileRows) -> Blocks:
    """A file's rows, by its own schema."""
    if path.stat().st_size > SMALL:
        with pq.ParquetFile(path) as file:
            return _blocks(path, _settled(rows, file.schema_arrow))
    # A third quicker than by the path, by which each column is a read of its own.
    content = path.read_bytes()
    fragment = _IN_MEMORY.make_fragment(pa.py_buffer(content))
    try:
        schema = fragment.physical_schema
    except pa.ArrowInvalid as error:
        raise pa.ArrowInvalid(str(error).removeprefix(_PREFIX)) from error
    names = _settled(rows, schema)
    if names == schema.names and all(map(_flat, schema.types)):
        rows.small = _small(fragment, len(content))
    return _blocks(pa.BufferReader(content), names)


def _settled(rows: FileRows, schema: pa.Schema) -> list[str]:
    names = rows.names = column_names(schema.names, rows.origin)
    rows.columns.settle(pa.schema([pa.field(name, kind) for name, kind in zip(names, schema.types, strict=True)]))
    return names


def _flat(kind: pa.DataType) -> bool:
    types: Any = pa.types
    return bool(types.is_primitive(kind) or types.is_string(kind) or types.is_binary(kind) or types.is_decimal(kind))


def _small(fragment: ds.ParquetFileFragment, size: int) -> Small:
    schema, footer = fragment.physical_schema, fragment.metadata
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    count = sum(group.num_rows for group in groups)
    most = count * max(size, sum(group.total_byte_size for group in groups))
    held = size + COLUMN * len(schema) * (1 + len(groups))
    return Small(fragment, count, held, (most + held) / TOGETHER, schema, partial(_together, schema))


def _together(schema: pa.Schema, fragments: Sequence[ds.ParquetFileFragment]) -> pa.Table | None:
    """The rows of files, in their order. In one call: one for each file would wait for the GIL as often."""
    try:
        return ds.FileSystemDataset(fragments, schema, _IN_MEMORY).to_table(use_threads=False).combine_chunks()
    except BROKEN:
        return None


def _blocks(source: Path | pa.BufferReader, names: list[str]) -> Blocks:
    start = 0
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(batch_size=ROWS, use_threads=False):
            table = pa.Table.from_batches([batch]).rename_columns(names)
            yield table, np.arange(start, start + table.num_rows)
            start += table.num_rows
