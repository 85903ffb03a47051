"""Parquet, a batch at a time. The file is opened again for its rows, so that many may wait for theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradewind_runtime.sources.files.base import ROWS, Blocks, FileRows, column_names

CONTENTS = "json"


def opened(path: Path, rows: FileRows, nulls: Sequence[str]) -> Blocks:
    """A file's rows, by its own schema."""
    del nulls
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    names = column_names(schema.names, rows.origin)
    rows.columns.settle(pa.schema([pa.field(name, f.type) for name, f in zip(names, schema, strict=True)]))
    return _blocks(path, names)


def _blocks(path: Path, names: list[str]) -> Blocks:
    start = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROWS, use_threads=False):
            yield pa.Table.from_batches([batch]).rename_columns(names), np.arange(start, start + batch.num_rows)
            start += batch.num_rows
