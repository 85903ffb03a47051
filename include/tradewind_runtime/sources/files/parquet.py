"""Parquet, a batch at a time. A larger file is opened again for its rows, so that many may wait for theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradewind_runtime.sources.files.base import ROWS, Blocks, FileRows, column_names

CONTENTS = "json"
SMALL = 64 * 1024  # bytes of the rows that wait in memory rather than be opened again: a thousand files may
FEW = 1_000  # rows that are worth a look at how large they are


def opened(path: Path, rows: FileRows, nulls: Sequence[str]) -> Blocks:
    """A file's rows, by its own schema."""
    del nulls
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        table = file.read(use_threads=False) if file.metadata.num_rows <= FEW else None
    names = column_names(schema.names, rows.origin)
    rows.columns.settle(pa.schema([pa.field(name, f.type) for name, f in zip(names, schema, strict=True)]))
    small = table if table is not None and table.get_total_buffer_size() <= SMALL else None
    return _blocks(_batches(path) if small is None else iter([small]), names)


def _batches(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROWS, use_threads=False):
            yield pa.Table.from_batches([batch])


def _blocks(tables: Iterator[pa.Table], names: list[str]) -> Blocks:
    start = 0
    for table in tables:
        yield table.rename_columns(names), np.arange(start, start + table.num_rows)
        start += table.num_rows
