"""A chunk's rows as staged files, counted on their way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Table
from tradewind_runtime.sources.columns import TIMESTAMP
from tradewind_runtime.staging import Staged


@dataclass(frozen=True)
class Written:
    """Files below a table, how many rows they have, and how many of those come from before the run's window."""

    files: Sequence[Staged]
    rows: int
    late: int


def write(
    table: Table, rows: Iterable[pa.RecordBatch], schema: pa.Schema, source: Source, window: Window | None
) -> Written:
    """Stage rows, a file a day where they have an event time."""
    seen = _Seen(source, window)
    files = table.stage(seen.through(rows), schema, cut_by=source.time if source.time in schema.names else None)
    return Written(files, seen.rows, seen.late)


@dataclass
class _Seen:
    source: Source
    window: Window | None
    rows: int = 0
    late: int = 0

    def through(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self.rows += batch.num_rows
            if self.window is not None and self.source.time in batch.schema.names:
                times = pc.cast(batch.column(self.source.time), TIMESTAMP)
                early = pc.less(times, pa.scalar(self.window.start, TIMESTAMP))
                self.late += pc.sum(early).as_py() or 0
            yield batch
