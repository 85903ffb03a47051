"""A PCollection of rows as Parquet files below the output table, and the list of them as one document."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.combiners import ToList
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import Timestamp

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.engines.beam.tables import Store
from tradewind_runtime.engines.output import shaped
from tradewind_runtime.lake import Lake
from tradewind_runtime.staging import ROW_GROUP, by_day, grouped

BATCH = 8192
#: Of rows that wait to become a row group.
HELD = 64 << 20


class WrongRowError(Exception):
    """A row that is not of the declared type, or that no table holds."""


class Written(beam.PTransform):  # type: ignore[misc]
    """Rows to batches, batches of a day together, a file each; at the end the list of the files that count."""

    def __init__(  # noqa: PLR0917
        self,
        store: Store,
        table: str,
        folder: str,
        listing: str,
        declared: pa.Schema,
        schema: pa.Schema,
        time: str | None,
        span: Window | None,
    ) -> None:
        super().__init__()
        self._batches = Batches(declared, schema, time, span)
        self._files = Files(store, table, folder, schema, time)
        self._listing = Listing(store, listing)

    def expand(self, found: beam.PCollection) -> beam.PCollection:
        """A user's own windows end here: what is written is one table."""
        return (
            found
            | "one window" >> beam.WindowInto(GlobalWindows())
            | "batches" >> beam.ParDo(self._batches).with_output_types(tuple[str, bytes])
            | "by day" >> beam.GroupByKey()
            | "files" >> beam.ParDo(self._files).with_output_types(str)
            | "all" >> ToList()
            | "list" >> beam.ParDo(self._listing)
        )


class Batches(beam.DoFn):  # type: ignore[misc]
    """Rows of the span as Arrow, by the day that they are of."""

    def __init__(self, declared: pa.Schema, schema: pa.Schema, time: str | None, span: Window | None) -> None:
        self._declared, self._schema, self._time, self._span = declared, schema, time, span
        self._rows: list[Any] = []

    def start_bundle(self) -> None:
        """A bundle that failed has left rows."""
        self._rows = []

    def process(self, row: Any) -> Iterator[tuple[str, bytes]]:
        """As many as a batch has."""
        self._rows.append(row)
        if len(self._rows) >= BATCH:
            yield from self._flushed()

    def finish_bundle(self) -> Iterator[Any]:
        """The rest."""
        for one in self._flushed():
            yield GlobalWindows.windowed_value(one)

    def _flushed(self) -> Iterator[tuple[str, bytes]]:
        rows, self._rows = self._rows, []
        if rows:
            for batch in self._shaped(arrow(rows, self._declared)):
                for day, part in by_day(batch, self._time):
                    yield str(day or ""), _packed(part)

    def _shaped(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        try:
            return list(shaped([batch], self._schema, self._time, self._span))
        except StepError as error:  # which Beam cannot make anew, as it does with what a worker raises
            raise WrongRowError(error.problems[0].message.removeprefix("the transform's result ")) from error


class Files(beam.DoFn):  # type: ignore[misc]
    """A day's batches as a file, in a folder of this attempt's own."""

    def __init__(self, store: Store, table: str, folder: str, schema: pa.Schema, time: str | None) -> None:
        self._store, self._name, self._folder, self._schema, self._time = store, table, folder, schema, time
        self._lake: Lake | None = None

    def setup(self) -> None:
        """Once a worker."""
        self._lake = self._store.open()

    def process(self, group: tuple[str, Iterable[bytes]]) -> Iterator[str]:
        """Streamed, a row group at a time."""
        assert self._lake is not None, "Beam has called setup"
        parts = (pa.ipc.open_stream(one).read_all() for one in group[1])
        batches = (
            batch
            for tables in grouped(parts, ROW_GROUP, HELD)
            for batch in pa.concat_tables(tables).combine_chunks().to_batches()
        )
        folder = f"{self._folder}/{uuid.uuid4().hex}"
        staged = self._lake.table(self._name).stage(batches, self._schema, cut_by=self._time, folder=folder)
        yield from (json.dumps(asdict(one)) for one in staged)


class Listing(beam.DoFn):  # type: ignore[misc]
    """All files in a document; done twice, it says the same."""

    def __init__(self, store: Store, path: str) -> None:
        self._store, self._path = store, path

    def process(self, files: list[str]) -> None:
        """There is one list, which may be empty."""
        told = sorted((json.loads(one) for one in files), key=lambda one: str(one["path"]))
        self._store.open().documents.put(self._path, json.dumps(told).encode())


def arrow(rows: list[Any], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as the columns that they are declared to have; what a dictionary does not have is null.

    Raises:
        WrongRowError: where one has other columns, or a value of another type.
    """
    if stray := {name for row in rows if isinstance(row, dict) for name in row.keys() - set(schema.names)}:
        msg = f"has a row with columns that are not declared: {', '.join(sorted(map(str, stray)))}"
        raise WrongRowError(msg)
    return pa.RecordBatch.from_arrays([_column(rows, field) for field in schema], schema=schema)


def _column(rows: list[Any], field: pa.Field) -> pa.Array:
    try:
        values = [_plain(row.get(field.name) if isinstance(row, dict) else getattr(row, field.name)) for row in rows]
    except AttributeError:
        row = next(one for one in rows if not hasattr(one, field.name))
        msg = f"has a row without the declared column {field.name!r}: it is a {type(row).__name__}"
        raise WrongRowError(msg) from None
    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError) as error:
        said = " ".join(str(error).split())
        msg = f"has a row whose {field.name!r} is not the declared {field.type}: {said}"
        raise WrongRowError(msg) from error


def _plain(value: Any) -> Any:
    return value.to_utc_datetime(has_tz=True) if isinstance(value, Timestamp) else value


def _packed(batch: pa.RecordBatch) -> bytes:
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(buffer.getvalue().to_pybytes())
