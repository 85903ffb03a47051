"""Pinned tables as PCollections. A worker opens the lake by its name, so that no secret is in a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from tradewind_runtime.connections import connection
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.snapshot import Snapshot

BATCH = 4096


@dataclass(frozen=True)
class Store:
    """The lake, as whoever has its connection in the environment opens it."""

    root: str
    connection: str | None

    def open(self) -> Lake:
        """With the connection's keys, or those of this pod or machine."""
        return Lake(self.root, connection(self.connection) if self.connection else None)


def rows(pipeline: beam.Pipeline, source: str, snapshot: Snapshot, store: Store) -> beam.PCollection:
    """A snapshot's rows as dictionaries: exactly its files, by their names; nothing is listed."""
    files = pipeline | f"tradewind {source}: files" >> beam.Create(list(snapshot.files), reshuffle=True)
    reading = Read(store, snapshot.table.name, snapshot.version, snapshot.schema)
    return files | f"tradewind {source}: rows" >> beam.ParDo(reading).with_output_types(dict[str, Any])


class Read(beam.DoFn):  # type: ignore[misc]
    """A file's rows, with the columns and types of the table's version."""

    def __init__(self, store: Store, name: str, version: int, schema: pa.Schema) -> None:
        self._store, self._name, self._version, self._schema = store, name, version, schema
        self._table: Table | None = None

    def setup(self) -> None:
        """Once a worker."""
        self._table = self._store.open().table(self._name)

    def process(self, file: str) -> Iterator[dict[str, Any]]:
        """Streamed."""
        assert self._table is not None, "Beam has called setup"
        found = Snapshot(self._table, self._version, (file,), self._schema).dataset()
        for batch in found.to_batches(batch_size=BATCH, use_threads=False):
            yield from batch.to_pylist()
