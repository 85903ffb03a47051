"""Files to typed rows, streamed: CSV, Parquet and JSON lines, compressed or not."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Table
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.sources.columns import PROVENANCE, TIMESTAMP, conform, known
from tradewind_runtime.sources.messages.json import Decoder
from tradewind_runtime.sources.newcolumns import Columns, NewColumnError

FORMATS = {".csv": "csv", ".parquet": "parquet", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
#: Columns as a file has them, and the numbers of these rows in it.
Blocks = Iterator[tuple[pa.Table, np.ndarray]]
BLOCK = 8 * 1024 * 1024
ROWS = 65_536


@dataclass(frozen=True)
class Origin:
    """Where a file's rows come from, and the transaction that stands for having read them."""

    key: str
    id: str
    at: int


@dataclass
class FileRows:
    """The rows of one file; reading `batches` fills `bad`."""

    columns: Columns
    origin: Origin
    raw: Blocks
    contents: str  # how a refused row is kept: csv or json
    bad: list[Bad] = field(default_factory=list)

    @property
    def schema(self) -> pa.Schema:
        """Of the rows, with their provenance."""
        return pa.schema([*self.columns.schema, *PROVENANCE])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Typed rows, with their provenance."""
        now = datetime.now(UTC)
        for found in self.raw:
            table, numbers = self._known(*found)
            good = conform(table, self.columns.schema)
            for row, reason in sorted(good.refused.items()):
                self.refuse(int(numbers[row]), reason, _content(table, row, self.contents))
            rows = (
                good.rows.append_column("_source", pa.repeat(pa.scalar(self.origin.key), good.rows.num_rows))
                .append_column("_position", pa.array(numbers[good.kept], pa.int64()))
                .append_column("_ingested", pa.repeat(pa.scalar(now, TIMESTAMP), good.rows.num_rows))
            )
            yield from rows.combine_chunks().to_batches()

    def _known(self, table: pa.Table, numbers: np.ndarray) -> tuple[pa.Table, np.ndarray]:
        """Without the rows that have columns which they must not."""
        try:
            wrong = self.columns.meet(table)
        except NewColumnError as error:
            raise self.told(error, numbers) from None
        for row, reason in sorted(wrong.items()):
            self.refuse(int(numbers[row]), reason, _content(table, row, self.contents))
        if not wrong:
            return table, numbers
        kept = np.delete(np.arange(len(numbers)), sorted(wrong))
        return table.take(pa.array(kept)), numbers[kept]

    def told(self, error: NewColumnError, numbers: np.ndarray) -> StepError:
        """For people, with the row."""
        return error.told(f"{self.origin.key} at {numbers[error.row]}")

    def refuse(self, number: int, reason: str, content: bytes) -> None:
        """Note a row that cannot be read."""
        self.bad.append(Bad(self.origin.key, number, reason, content, self.origin.id, self.origin.at))


def open_rows(path: Path, kind: str, source: Source, *, nulls: Sequence[str], origin: Origin, table: Table) -> FileRows:
    """A file's rows, of the columns that the YAML names, or else of those that the table and the file have.

    Raises:
        StepError: TW527 where the file as a whole cannot be read.
    """
    columns = Columns.of(source, known(source, table.snapshot().schema if table.exists() else None))
    rows = FileRows(columns, origin, iter(()), "csv" if kind == "csv" else "json")
    try:
        if kind == "csv":
            found = _csv(path, nulls, rows)
        elif kind == "parquet":
            found = _parquet(path, rows)
        else:
            found = _json(path, rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(origin, error) from error
    rows.raw = _guarded(found, origin)
    return rows


def _guarded(found: Blocks, origin: Origin) -> Blocks:
    try:
        yield from found
    except (pa.ArrowException, OSError, EOFError) as error:
        raise _unreadable(origin, error) from error


def _unreadable(origin: Origin, error: Exception) -> StepError:
    return StepError(
        "TW527",
        f"{origin.key} cannot be read: {str(error)[:200]}",
        retryable=False,
        fix="mend or remove the object, or set objects.format; nothing of it has been taken in",
    )


def _stream(path: Path) -> pa.NativeFile:
    return pa.input_stream(str(path), compression=_COMPRESSED.get(path.suffix.lower()))


def _safe(name: str) -> str:
    """A name that a table may have: letters, digits and underscores."""
    words = re.sub(r"\W+", " ", name, flags=re.ASCII).split()
    safe = "_".join(words) or "column"
    return f"_{safe}" if safe[0].isdigit() else safe


# CSV -----------------------------------------------------------------------------------------


def _csv(path: Path, nulls: Sequence[str], rows: FileRows) -> Blocks:
    """Every field is read as bytes and typed by us, so that one bad field costs one row."""
    with _stream(path) as stream:
        head = stream.read(1024 * 1024).decode("utf-8-sig", "replace")
    header = next(csv.reader(head.splitlines(keepends=True)), [])
    names = [_safe(name) for name in header]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise StepError("TW527", f"{rows.origin.key} has a column twice", retryable=False, got=twice)
    empty = not header or not head.partition("\n")[2].strip()
    if rows.columns.grows:
        rows.columns.settle(
            pa.schema([(name, pa.string()) for name in names]) if empty else _inferred(path, names, nulls)
        )
    return iter(()) if empty else _csv_blocks(path, names, nulls, rows)


def _inferred(path: Path, names: list[str], nulls: Sequence[str]) -> pa.Schema:
    """Types by the file's first block, as Arrow sees them."""
    with _stream(path) as stream:
        reader = pcsv.open_csv(
            stream,
            read_options=pcsv.ReadOptions(use_threads=False, column_names=names, skip_rows=1, block_size=BLOCK),
            parse_options=pcsv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _row: "skip"),
            convert_options=pcsv.ConvertOptions(null_values=list(nulls), strings_can_be_null=True),
        )
        return reader.schema


def _csv_blocks(path: Path, names: list[str], nulls: Sequence[str], rows: FileRows) -> Blocks:
    broken: set[int] = set()

    def refuse(row: pcsv.InvalidRow) -> str:
        number = row.number - 2  # from 1, the header included
        broken.add(number)
        reason = f"{row.actual_columns} fields where {row.expected_columns} are expected"
        rows.refuse(number, reason, row.text.encode("utf-8", "surrogateescape"))
        return "skip"

    with _stream(path) as stream:
        reader = pcsv.open_csv(
            stream,
            read_options=pcsv.ReadOptions(use_threads=False, column_names=names, skip_rows=1, block_size=BLOCK),
            parse_options=pcsv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=pcsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), null_values=list(nulls), strings_can_be_null=True
            ),
        )
        start = 0
        for batch in reader:
            numbers = _numbers(start, batch.num_rows, broken)
            if batch.num_rows:
                start = int(numbers[-1]) + 1
            yield pa.Table.from_batches([batch]), numbers


def _numbers(start: int, count: int, broken: set[int]) -> np.ndarray:
    """The next row numbers, past those of broken rows."""
    numbers = np.arange(start, start + count + len(broken))
    if broken:
        numbers = numbers[~np.isin(numbers, list(broken))]
    return numbers[:count]


def _content(table: pa.Table, row: int, kind: str) -> bytes:
    values = table.slice(row, 1).to_pylist()[0]
    if kind == "csv":
        return b",".join(value if value is not None else b"" for value in values.values())
    return json.dumps(values, default=str).encode()


# Parquet -------------------------------------------------------------------------------------


def _parquet(path: Path, rows: FileRows) -> Blocks:
    file = pq.ParquetFile(path)
    names = [_safe(name) for name in file.schema_arrow.names]
    found = pa.schema([pa.field(name, f.type) for name, f in zip(names, file.schema_arrow, strict=True)])
    rows.columns.settle(found)
    return _parquet_blocks(file, names)


def _parquet_blocks(file: pq.ParquetFile, names: list[str]) -> Blocks:
    start = 0
    for batch in file.iter_batches(batch_size=ROWS, use_threads=False):
        yield pa.Table.from_batches([batch]).rename_columns(names), np.arange(start, start + batch.num_rows)
        start += batch.num_rows


# JSON lines ----------------------------------------------------------------------------------


def _json(path: Path, rows: FileRows) -> Blocks:
    decoder = Decoder(rows.columns)
    if rows.columns.grows:  # the first lines say which columns there are
        for lines, _ in _lines(path):
            decoder.decode(lines)
            break
        rows.columns.settle(pa.schema([]))
    return _json_blocks(path, decoder, rows)


def _json_blocks(path: Path, decoder: Decoder, rows: FileRows) -> Blocks:
    for lines, start in _lines(path):
        try:
            table, kept, refused = decoder.decode(lines)
        except NewColumnError as error:
            raise rows.told(error, np.arange(start, start + len(lines))) from None
        for index, reason in sorted(refused.items()):
            rows.refuse(start + index, reason, lines[index])
        yield table, kept + start


def _lines(path: Path) -> Iterator[tuple[list[bytes], int]]:
    start = 0
    lines: list[bytes] = []
    with _stream(path) as stream:
        for line in _split(stream):
            if line.strip():
                lines.append(line)
            if len(lines) == ROWS:
                yield lines, start
                start += len(lines)
                lines = []
    if lines:
        yield lines, start


def _split(stream: pa.NativeFile) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(BLOCK):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    if rest:
        yield rest
