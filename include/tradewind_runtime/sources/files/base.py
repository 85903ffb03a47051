"""What every format of files shares: rows on their way to a table, with their provenance, and the bad ones apart."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.sources.columns import PROVENANCE, TIMESTAMP, conform, shown
from tradewind_runtime.sources.messages.base import Decoder
from tradewind_runtime.sources.newcolumns import Columns, NewColumnError

COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
#: Columns as a file has them, and the numbers of these rows in it.
Blocks = Iterator[tuple[pa.Table, np.ndarray]]
Made = TypeVar("Made")
BLOCK = 8 * 1024 * 1024
SMALL = 64 * 1024  # bytes of a file that may wait in memory, as a thousand others, rather than be opened again
ROWS = 65_536
MOST = 10_000  # columns of a file: with more, a table's log and each of its files would be all names
#: What readers say of a file that is broken.
BROKEN = (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, csv.Error)


@dataclass(frozen=True)
class Origin:
    """Where a file's rows come from, and the transaction that stands for having read them."""

    key: str
    id: str
    at: int


@dataclass(frozen=True)
class Dialect:
    """How a CSV is written."""

    nulls: Sequence[str] = ("", "NA")  # texts that stand for a null
    delimiter: str = ","


@dataclass(frozen=True)
class Small:
    """All of a file that is little, and how many rows it has if all is well: those of one kind are parsed at once."""

    content: Any
    rows: int
    held: int  # bytes, about, while it waits
    share: float  # of what may be parsed at once; one that has more is parsed alone
    kind: object  # equal to that of others like it
    parsed: Callable[[Sequence[Any]], pa.Table | None]  # of contents; None where one is not as it should be


@dataclass
class FileRows:
    """The rows of one file; reading `batches` fills `bad`."""

    columns: Columns
    origin: Origin
    raw: Blocks
    contents: str  # how a refused row is kept: csv or json
    bad: list[Bad] = field(default_factory=list)
    small: Small | None = None
    names: list[str] = field(default_factory=list)  # of its columns, where it says so before its rows
    dialect: Dialect = Dialect()  # of a CSV

    @property
    def schema(self) -> pa.Schema:
        """Of the rows, with their provenance."""
        return _with_provenance(self.columns.schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Typed rows, with their provenance."""
        for part in self.parts():
            yield from typed([part]).to_batches()

    def parts(self) -> Iterator[Part]:
        """The same, not typed yet."""
        for table, numbers in self.raw:
            # Ten times as quick as its `nbytes`, and many parts are small.
            yield self.part(table, numbers, table.get_total_buffer_size())

    def part(self, table: pa.Table, numbers: np.ndarray, nbytes: int) -> Part:
        """Rows as the file has them, without those that have columns which they must not."""
        return Part(self, *self._known(table, numbers), nbytes)

    def forget(self) -> None:
        """Let go of the file's content, once it was read."""
        self.raw, self.small = iter(()), None

    def decoded(self, texts: Iterable[tuple[list[bytes], int]], decoder: Decoder) -> Blocks:
        """Texts of a row each as columns; those that cannot be read are refused.

        Args:
            texts: some at a time, with the number of the first.
            decoder: of what they are written in.
        """
        for found, start in texts:
            try:
                table, kept, refused = decoder.decode(found)
            except NewColumnError as error:
                raise self.told(error, np.arange(start, start + len(found))) from None
            for index, reason in sorted(refused.items()):
                self.refuse(start + index, reason, found[index])
            yield table, kept + start

    def _known(self, table: pa.Table, numbers: np.ndarray) -> tuple[pa.Table, np.ndarray]:
        """Without the rows that have columns which they must not."""
        try:
            wrong = self.columns.meet(table)
        except NewColumnError as error:
            raise self.told(error, numbers) from None
        for row, reason in sorted(wrong.items()):
            self.refuse(int(numbers[row]), reason, _content(table, row, self))
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


@lru_cache(16)
def _with_provenance(columns: pa.Schema) -> pa.Schema:
    return pa.schema([*columns, *PROVENANCE])


@dataclass(frozen=True)
class Part:
    """Some rows of a file as they are there, and their numbers in it."""

    file: FileRows
    table: pa.Table
    numbers: np.ndarray
    nbytes: int  # about

    @property
    def num_rows(self) -> int:
        """How many."""
        return int(self.table.num_rows)

    @property
    def like(self) -> tuple[pa.Schema, pa.Schema]:
        """What is the same of parts that can be typed at once."""
        return self.table.schema, self.file.columns.schema


def at_once(files: Sequence[FileRows]) -> list[Part] | None:
    """Of small files of one kind, a part each; None where they are to be read one by one."""
    few = [file.small for file in files if file.small]
    if not 1 < len(few) == len(files):
        return None
    table = few[0].parsed([one.content for one in few])
    counts = [one.rows for one in few]
    if table is None or table.num_rows != sum(counts):
        return None
    size = table.get_total_buffer_size() / max(1, table.num_rows)
    starts = np.cumsum([0, *counts]).tolist()
    return [
        file.part(table.slice(start, count), np.arange(count), round(size * count))
        for file, start, count in zip(files, starts[:-1], counts, strict=True)
    ]


def typed(parts: Sequence[Part]) -> pa.Table:
    """Rows of parts that are alike, with their provenance; what is none of a type is refused."""
    good = conform(pa.concat_tables([part.table for part in parts]), parts[0].file.columns.schema)
    sizes = [part.num_rows for part in parts]
    ends = np.cumsum(sizes)
    for row, reason in sorted(good.refused.items()):
        at = int(np.searchsorted(ends, row, "right"))
        part, index = parts[at], row - int(ends[at]) + sizes[at]
        part.file.refuse(int(part.numbers[index]), reason, _content(part.table, index, part.file))
    keys = pa.array([part.file.origin.key for part in parts], pa.string())
    of = np.repeat(np.arange(len(parts)), sizes)[good.kept]
    numbers = np.concatenate([part.numbers for part in parts])[good.kept]
    now = pa.scalar(datetime.now(UTC), TIMESTAMP)
    added = keys.take(pa.array(of)), pa.array(numbers, pa.int64()), pa.repeat(now, good.rows.num_rows)
    return pa.Table.from_arrays([*good.rows.columns, *added], schema=parts[0].file.schema)


def ahead(things: Iterable[Made], waiting: int = 1) -> Generator[Made, None, None]:
    """The same, made on another thread while those before are used: Arrow reads and writes without the GIL.

    To close it, or to stop otherwise, waits for the one that is being made.

    Args:
        things: each made when it is asked for; none is None.
        waiting: as many as may be made and not used yet.
    """
    made = iter(things)
    pool = ThreadPoolExecutor(1, "reading")
    try:
        coming = deque(pool.submit(next, made, None) for _ in range(waiting))
        while (thing := coming.popleft().result()) is not None:
            coming.append(pool.submit(next, made, None))
            yield thing
    finally:
        pool.shutdown(cancel_futures=True)


def guarded(found: Blocks, origin: Origin) -> Blocks:
    """The same, with what goes wrong told of the file."""
    try:
        yield from found
    except BROKEN as error:
        raise unreadable(origin, error) from error


def unreadable(origin: Origin, error: object) -> StepError:
    """A file that cannot be read as a whole."""
    return StepError(
        "TW527",
        f"{origin.key} cannot be read: {str(error)[:200]}",
        retryable=False,
        fix="mend or remove the object, or set objects.format; nothing of it has been taken in",
    )


def bearable(names: Sequence[str], origin: Origin) -> None:
    """Stop at more columns than a table can bear.

    Raises:
        StepError: TW527 with how many there are.
    """
    if len(names) > MOST:
        raise StepError(
            "TW527", f"{origin.key} has too many columns", retryable=False, got=len(names),
            expected=f"at most {MOST}", fix="write many values as rows, or as one column of a list",
        )  # fmt: skip


def column_names(names: Sequence[str], origin: Origin) -> list[str]:
    """Names that a table may have, each once; it knows no difference between letters that are large and small.

    Raises:
        StepError: TW527 where two are the same, or there are too many.
    """
    bearable(names, origin)
    found = [_safe(name) for name in names]
    counts = Counter(map(str.lower, found))
    if twice := sorted({name for name in found if counts[name.lower()] > 1}):
        raise StepError("TW527", f"{origin.key} has a column twice", retryable=False, got=twice[:20])
    return found


def suiting(rows: FileRows) -> None:
    """See that a file which names its columns has one of the table's: else each of its rows is of nulls.

    Raises:
        StepError: TW527 where it has none.
    """
    wanted = rows.columns.schema.names
    if not rows.names or {*rows.names} & {*wanted}:
        return
    raise StepError(
        "TW527", f"{rows.origin.key} has none of the table's columns", retryable=False, got=rows.names[:20],
        expected=f"some of {', '.join(wanted[:20])}",
        fix="see objects.format and objects.delimiter, or name its columns in columns",
    )  # fmt: skip


def stream(path: Path) -> pa.NativeFile:
    """A file's content, decompressed as its name says."""
    return pa.input_stream(str(path), compression=COMPRESSED.get(path.suffix.lower()))


@lru_cache(MOST)
def _safe(name: str) -> str:
    """A name that a table may have: letters, digits and underscores."""
    words = re.sub(r"\W+", " ", name, flags=re.ASCII).split()
    safe = "_".join(words) or "column"
    return f"_{safe}" if safe[0].isdigit() else safe


def _content(table: pa.Table, row: int, file: FileRows) -> bytes:
    values: dict[str, Any] = {name: shown(table.column(name)[row]) for name in table.column_names}
    if file.contents == "csv":
        line = io.StringIO()
        texts = [(value or b"").decode("utf-8", "surrogateescape") for value in values.values()]
        csv.writer(line, delimiter=file.dialect.delimiter, lineterminator="").writerow(texts)
        return line.getvalue().encode("utf-8", "surrogateescape")
    return json.dumps(values, default=str).encode()
