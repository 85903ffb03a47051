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
_CUT = re.compile(r"(\d{4}-\d\d-\d\d)-\d+\.parquet")
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
    """Write rows into a folder, and give the files' paths: one file, or one for each UTC date of a column.

    A file's name begins with its date, or with `name`.
    """
    root = folder.removeprefix("s3://")
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem.create_dir(root, recursive=True)
    writers: dict[date | None, tuple[str, pq.ParquetWriter]] = {}
    try:
        for batch in batches:
            for day, part in by_day(batch, cut_by) if batch.num_rows else ():
                if day not in writers:
                    path = f"{root}/{day or name}-{len(writers):05d}.parquet"
                    writers[day] = (
                        path,
                        pq.ParquetWriter(
                            path,
                            schema,
                            filesystem=filesystem,
                            compression="zstd",
                            coerce_timestamps="us",
                            use_dictionary=repeating(schema),
                        ),
                    )
                writers[day][1].write_batch(part.cast(schema), row_group_size=ROW_GROUP)
    finally:
        for _, writer in writers.values():
            writer.close()
    return [path for path, _ in writers.values()]


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
    """The date that all rows of a file have, by its name; `part` where it was cut by none."""
    found = _CUT.fullmatch(PurePosixPath(path).name)
    return found[1] if found else "part"


def by_day(batch: pa.RecordBatch, column: str | None) -> Iterator[tuple[date | None, pa.RecordBatch]]:
    """A batch's rows of each UTC date of a column; with no column, all of them."""
    if column is None:
        yield None, batch
        return
    days = pc.cast(batch.column(column), pa.timestamp("us")).cast(pa.date32(), safe=False)
    for day in pc.unique(days).to_pylist():
        mask = pc.equal(days, day) if day is not None else pc.is_null(days)
        yield day, batch.filter(mask)


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
