"""Rows that are judged, and then refused or passed on: by their numbers, and by whichever engine.

Rows are numbered as they are read, by file and position, always the same. What is done with all of them can be done
with parts, each of some files and with the number of its first row: so does Spark, in `engines.spark.checking`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tradewind_runtime import quarantine
from tradewind_runtime.contract.checks import Expectation
from tradewind_runtime.findings import Finding
from tradewind_runtime.lake import Table
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.staging import Staged

if TYPE_CHECKING:
    from tradewind_runtime.answers import Answer
    from tradewind_runtime.context import StepContext
    from tradewind_runtime.expectations import Found, Suite

CHUNK = 250_000  # rows in memory at a time
#: Rows and values of a few columns: each expectation costs 15 ms a chunk, and one column alone is on pandas at a time.
LONGEST, VALUES = 1_000_000, 8_000_000
BYTES = 256 * 1024 * 1024  # of rows that are more than `CHUNK`

Numbers: TypeAlias = npt.NDArray[np.int64]
#: An expectation that refuses rows, and which.
Reason: TypeAlias = tuple[Expectation, Numbers]


class Sieve(Protocol):
    """What an engine does with the rows of one check. Nothing that it writes is in a table before the step commits."""

    def judge(self, suite: Suite) -> Sequence[Answer]:
        """What each expectation finds."""

    def refuse(self, source: str, reasons: Sequence[Reason], into: Table) -> tuple[list[Staged], int]:
        """Write the refused rows that a quarantine has not, and say how many they are."""

    def pass_on(self, failing: Numbers, into: Table, schema: pa.Schema, cut_by: str | None) -> list[Staged]:
        """Write the others."""


@contextmanager
def sieve(context: StepContext, rows: Snapshot) -> Iterator[Sieve]:
    """By the step's engine. Spark is started only for rows.

    Raises:
        StepError: TW546 where Spark does not start, or fails.
    """
    if context.request.engine != "spark" or rows.count() == 0:
        yield Here(Part(rows, 0, rows.count()), context)
        return
    from tradewind_runtime.engines.spark.checking import spread

    with spread(context, rows) as found:
        yield found


@dataclass(frozen=True)
class Part:
    """Rows of some files of a snapshot."""

    rows: Snapshot
    first: int  # number of the first one, among all
    count: int

    def of(self, numbers: Numbers) -> Numbers:
        """Those of these numbers, in order, that are its own."""
        low, high = np.searchsorted(numbers, [self.first, self.first + self.count])
        return numbers[low:high]


def parts(rows: Snapshot, most: int) -> list[Part]:
    """A snapshot in parts of so many rows, but where a file alone has more."""
    entries = rows.table.entries_of(rows.version)
    found: list[Part] = []
    for file in rows.files:
        one = replace(rows, files=(file,))
        told = entries[file]["num_records"]
        count = one.count() if told is None else int(told)
        last = found[-1] if found else None
        if last is not None and last.count + count <= most:
            files = (*last.rows.files, file)
            found[-1] = Part(replace(rows, files=files), last.first, last.count + count)
        else:
            found.append(Part(one, last.first + last.count if last else 0, count))
    return [part for part in found if part.count]


@dataclass(frozen=True)
class Here:
    """The engine `python`: all of it in the step's own process, a chunk at a time."""

    part: Part
    step: StepContext | None = None  # without one, there is no folder for what memory does not hold

    def judge(self, suite: Suite) -> Sequence[Answer]:
        """By pandas; of all rows at once by SQL where they are many and it comes to the same: see `reducing`.

        Raises:
            StepError: TW546 where SQL fails.
        """
        from tradewind_runtime import reducing  # which needs this module

        judged: Found = {}
        if self.step and reducing.size(suite, self.part.count) > reducing.MANY:
            from tradewind_runtime.engines.duckdb.reducing import reducer

            with reducer(self.step, self.part) as by_sql:
                judged = reducing.reduced(suite, [self.part], by_sql)
        return suite.validate(lambda columns: chunks(self.part.rows, columns, _many(columns)), judged)

    def refuse(self, source: str, reasons: Sequence[Reason], into: Table) -> tuple[list[Staged], int]:
        """One file."""
        return refuse(self.part, source, reasons, into, into.snapshot())

    def pass_on(self, failing: Numbers, into: Table, schema: pa.Schema, cut_by: str | None) -> list[Staged]:
        """A file, or one a day."""
        return pass_on(self.part, failing, into, schema, cut_by)


def _many(columns: Sequence[str] | None) -> int:
    return max(CHUNK, min(LONGEST, VALUES // len(columns))) if columns else CHUNK


def chunks(rows: Snapshot, columns: Sequence[str] | None = None, most: int | None = None) -> Iterator[pa.Table]:
    """Rows in the order of files and positions, so many at a time; small files together."""
    waiting: list[pa.RecordBatch] = []
    size = held = 0
    most = most or CHUNK
    for batch in rows.dataset().to_batches(columns=list(columns) if columns else None, batch_size=CHUNK):
        together = size + batch.num_rows
        if waiting and (together > most or (together > CHUNK and held + batch.nbytes > BYTES)):
            yield pa.Table.from_batches(waiting)
            waiting, size, held = [], 0, 0
        waiting.append(batch)
        size += batch.num_rows
        held += batch.nbytes
    if waiting:
        yield pa.Table.from_batches(waiting)


def counted(part: Part, columns: Sequence[str]) -> Iterator[tuple[pa.Array, pa.Table]]:
    """Each chunk, with the numbers of its rows."""
    offset = part.first
    for chunk in chunks(part.rows, columns):
        yield pa.array(np.arange(offset, offset + chunk.num_rows, dtype=np.int64)), chunk
        offset += chunk.num_rows


def numbered(part: Part, marked: Numbers, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.Table, Any]]:
    """Each chunk with the number of its first row and which of its rows are marked."""
    offset = part.first
    for chunk in chunks(part.rows, columns):
        low, high = np.searchsorted(marked, [offset, offset + chunk.num_rows])
        mask = np.zeros(chunk.num_rows, dtype=bool)
        mask[marked[low:high] - offset] = True
        yield offset, chunk, mask
        offset += chunk.num_rows


def pass_on(part: Part, failing: Numbers, into: Table, schema: pa.Schema, cut_by: str | None) -> list[Staged]:
    """Write the rows that do not fail."""
    passing = (
        batch
        for _, chunk, mask in numbered(part, failing)
        for batch in chunk.filter(pa.array(~mask)).to_batches()
        if batch.num_rows
    )
    return into.stage(passing, schema, cut_by=cut_by)


def reasons(findings: Sequence[Finding]) -> list[Reason]:
    """Which rows are refused, by what. An expectation that only warns refuses none."""
    return [(one.expectation, one.failing) for one in findings if one.expectation.severity == "stop"]


def refuse(
    part: Part, source: str, reasons: Sequence[Reason], into: Table, known: Snapshot
) -> tuple[list[Staged], int]:
    """Write the rows that fail, each with all of its reasons.

    Those that are there already stay alone: of an attempt that was killed, or of rows that are checked again.
    """
    count = 0

    def new() -> Iterator[pa.RecordBatch]:
        nonlocal count
        for offset, chunk, mask in numbered(part, union(reasons)):
            if not mask.any():
                continue
            bad = [
                _bad(source, offset + int(at), row, reasons)
                for at, row in zip(np.flatnonzero(mask), chunk.filter(pa.array(mask)).to_pylist(), strict=True)
            ]
            have = quarantine.held(known, bad, "check")
            fresh = [row for row in bad if (row.source, row.position, row.content) not in have]
            count += len(fresh)
            yield from quarantine.to_arrow(fresh, "check").to_batches()

    return into.stage(new(), quarantine.SCHEMA), count


def union(reasons: Sequence[Reason]) -> Numbers:
    """The numbers of all of them, each once and in order."""
    return np.unique(np.concatenate([failing for _, failing in reasons])) if reasons else np.empty(0, np.int64)


def _bad(source: str, number: int, row: dict[str, Any], reasons: Sequence[Reason]) -> quarantine.Bad:
    told = []
    for asked, failing in reasons:
        at = int(np.searchsorted(failing, number))
        if at < len(failing) and failing[at] == number:
            values = ", ".join(f"{name} = {row[name]!r}" for name in asked.columns)
            told.append(f"{asked.name}: {values}")
    content = {name: value for name, value in row.items() if not name.startswith("_")}
    position = row.get("_position")
    return quarantine.Bad(
        source=str(row.get("_source") or source),
        position=number if position is None else int(position),
        reason="; ".join(told),
        content=json.dumps(content, default=_plain, ensure_ascii=False).encode(),
    )


def _plain(value: Any) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
