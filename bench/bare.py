"""What one writes by hand with pyarrow: batches to one Parquet file, with the settings of our own writer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

ROW_GROUP = 65_536
SETTINGS: dict[str, Any] = {"compression": "zstd", "coerce_timestamps": "us"}


def written(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: str, filesystem: Any = None) -> int:
    """Rows as they come; how many."""
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(path, schema, filesystem=filesystem, **SETTINGS) as writer:
        for table in _together(batches):
            writer.write_table(table, row_group_size=ROW_GROUP)
            rows += table.num_rows
    return rows


def _together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Small ones as one, since each that is written is a row group of its own."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= ROW_GROUP:
            yield pa.Table.from_batches(waiting)
            waiting, count = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)
