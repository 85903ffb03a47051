"""Parquet files that are to go into a table: written or found below it, and described as its log will have them.

Nothing reads them until `lake` has committed them. Statistics come from the Parquet footer: rows, nulls, lowest and
highest by column.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from typing import Any, Literal, Protocol, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from tradewind_runtime.storable import beyond_years

ROW_GROUP = 65_536
OPEN = 32  # files at a time: a process may open a thousand or so, and on S3 each has a buffer of megabytes
HELD = 128 << 20  # bytes of rows of more days than that; while they are put in order, they are there twice
DAY = "tradewind_day"  # the column by which Spark cuts files: it names their folders, and is not in them
_CUT, _FOLDER = re.compile(r"(\d{4}-\d\d-\d\d)-\d+\.parquet"), re.compile(rf"{DAY}=(\d{{4}}-\d\d-\d\d)")
LONGEST = 64  # characters of a text that is worth a place in the log


@dataclass(frozen=True)
class Staged:
    """A Parquet file that lies below the table and is not yet part of it."""

    path: str  # relative to the table
    size: int
    stats: str


def write_files(
    filesystem: pafs.FileSystem,
    folder: str,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    cut_by: str | None = None,
    *,
    name: str = "part",
) -> list[str]:
    """Write rows into a folder, and give the files' paths: one file, or some for each UTC date of a column.

    A file's name begins with its date, or with `name`.
    """
    root = folder.removeprefix("s3://")
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem.create_dir(root, recursive=True)
    files = _Files(filesystem, root, schema, cut_by, name)
    try:
        for batch in batches:
            if batch.num_rows:
                files.add(batch.cast(schema))
        files.flush()
    finally:
        files.close()
    return files.paths


class _Files:
    """Files of a folder, one for each day.

    Where days are more than may be open, rows are held: a day whose file was closed gets another one for all of them,
    and not for each batch.
    """

    def __init__(
        self, filesystem: pafs.FileSystem, root: str, schema: pa.Schema, cut_by: str | None, name: str
    ) -> None:
        self._filesystem, self._root, self._schema, self._cut_by, self._name = filesystem, root, schema, cut_by, name
        self._open: dict[date | None, pq.ParquetWriter] = {}  # used least recently first
        self._held: list[pa.RecordBatch] = []
        self._size = 0
        self.paths: list[str] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """To its days' files, or to what is held: not past it, for a day's rows stay in their order."""
        if not self._held:
            parts = list(by_day(batch, self._cut_by))
            if len(self._open.keys() | {day for day, _ in parts}) <= OPEN:
                self._write(parts)
                return
        self._held.append(batch)
        self._size += batch.nbytes
        if self._size >= HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if not self._held:
            return
        together = pa.Table.from_batches(self._held, self._schema).combine_chunks()
        self._held, self._size = [], 0
        self._write([part for batch in together.to_batches() for part in by_day(batch, self._cut_by)])

    def close(self) -> None:
        """Whatever has come of it."""
        for writer in self._open.values():
            writer.close()

    def _write(self, parts: list[tuple[date | None, pa.RecordBatch]]) -> None:
        # Days whose files are open come first, before those of others are closed for want of room.
        for day, rows in sorted(parts, key=lambda part: part[0] not in self._open):
            writer = self._open.pop(day, None) or self._new(day)
            self._open[day] = writer
            writer.write_batch(rows, row_group_size=ROW_GROUP)

    def _new(self, day: date | None) -> pq.ParquetWriter:
        if len(self._open) == OPEN:
            self._open.pop(next(iter(self._open))).close()
        path = f"{self._root}/{day or self._name}-{len(self.paths):05d}.parquet"
        writer = pq.ParquetWriter(
            path,
            self._schema,
            filesystem=self._filesystem,
            compression="zstd",
            coerce_timestamps="us",
            use_dictionary=repeating(self._schema),
        )
        self.paths.append(path)
        return writer


def repeating(schema: pa.Schema) -> list[str]:
    """Columns whose values may well come again: a dictionary of all others costs time and room."""
    unlike = (pa.types.is_int64, pa.types.is_floating, pa.types.is_temporal, pa.types.is_boolean)
    return [one.name for one in schema if not any(kind(one.type) for kind in unlike)]


class Rows(Protocol):
    """A table, or what is to be one."""

    @property
    def num_rows(self) -> int: ...  # noqa: D102
    @property
    def nbytes(self) -> int: ...  # noqa: D102


SomeRows = TypeVar("SomeRows", bound=Rows)


def grouped(tables: Iterable[SomeRows], rows: int, size: int) -> Iterator[list[SomeRows]]:
    """Small tables, as many at a time as have so many rows or bytes: what is written at once."""
    group: list[SomeRows] = []
    count = held = 0
    for table in tables:
        group.append(table)
        count, held = count + table.num_rows, held + table.nbytes
        if count >= rows or held >= size:
            yield group
            group, count, held = [], 0, 0
    if group:
        yield group


def cut_of(path: str) -> str:
    """The date that all rows of a file have, by its name, or its folder's by Spark; `part` where it was cut by none."""
    file = PurePosixPath(path)
    found = _CUT.fullmatch(file.name) or _FOLDER.fullmatch(file.parent.name)
    return found[1] if found else "part"


def by_day(batch: pa.RecordBatch, column: str | None) -> Iterator[tuple[date | None, pa.RecordBatch]]:
    """A batch's rows of each UTC date of a column; with no column, all of them."""
    if column is None:
        yield None, batch
        return
    days = pc.cast(batch.column(column), pa.timestamp("us")).cast(pa.date32(), safe=False)
    coded = days.dictionary_encode(null_encoding="encode")
    if len(coded.dictionary) == 1:
        yield coded.dictionary[0].as_py(), batch
        return
    order, at = pc.array_sort_indices(coded.indices), 0  # a stable order
    counts = coded.indices.value_counts().field("counts")
    for day, count in zip(coded.dictionary.to_pylist(), counts.to_pylist(), strict=True):
        yield day, batch.take(order.slice(at, count))
        at += count


def find_files(filesystem: pafs.FileSystem, folder: str) -> list[str]:
    """Paths of the Parquet files that somebody has left in a folder."""
    selector = pafs.FileSelector(folder.removeprefix("s3://"), recursive=True, allow_not_found=True)
    found = filesystem.get_file_info(selector)
    return sorted(info.path for info in found if info.is_file and info.path.endswith(".parquet"))


def describe(filesystem: pafs.FileSystem, table: str, path: str) -> Staged:
    """A file below a table, given by its URI, as the log will have it.

    Raises:
        StepError: TW547 where it has a time that is not within the years 1 to 9999.
    """
    metadata = pq.read_metadata(path, filesystem=filesystem)
    base = table.removeprefix("s3://").rstrip("/") + "/"
    size = filesystem.get_file_info(path).size
    return Staged(path.removeprefix(base), size, stats(metadata))


def stats(metadata: pq.FileMetaData) -> str:
    """What the table's log says of a file, as JSON; columns with no sound bounds have none.

    Raises:
        StepError: TW547 where a bound is a time that is not within the years 1 to 9999.
    """
    schema = metadata.schema.to_arrow_schema()
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for index in range(metadata.num_columns):
        name = metadata.schema.column(index).path
        if "." in name:  # within a struct or a list
            continue
        found = [metadata.row_group(group).column(index).statistics for group in range(metadata.num_row_groups)]
        if all(stat is not None and stat.has_null_count for stat in found):
            nulls[name] = sum(stat.null_count for stat in found)
        if (bounds := _bounds(found, schema.field(name))) is not None:
            low[name], high[name] = bounds
    return json.dumps({"numRecords": metadata.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls})


def _bounds(found: Sequence[Any], field: pa.Field) -> tuple[Any, Any] | None:
    """Of all row groups; None where one of them that has values does not say."""
    if any(stat is None or (stat.num_values and not stat.has_min_max) for stat in found):
        return None
    ranged = [stat for stat in found if stat.has_min_max]
    if not ranged:
        return None
    low = _json(min(_end(stat, "min", field) for stat in ranged))
    high = _json(max(_end(stat, "max", field) for stat in ranged))
    return None if low is None or high is None else (low, high)


def _end(stat: Any, end: Literal["min", "max"], field: pa.Field) -> Any:
    try:
        return getattr(stat, end)
    except (OverflowError, ValueError) as error:  # Python has no such time
        raise beyond_years(field.name, pa.scalar(getattr(stat, f"{end}_raw"), field.type)) from error


def _json(value: Any) -> Any:
    """A bound as Delta writes it, or None for a type that has none there."""
    if isinstance(value, bool | bytes):
        return None
    if isinstance(value, datetime):
        precision = "milliseconds" if value.microsecond % 1000 == 0 else "microseconds"
        moment = value if value.tzinfo is None else value.astimezone(UTC)
        return moment.isoformat(timespec=precision).replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value if len(value) <= LONGEST else None
    return value if isinstance(value, int) else None
