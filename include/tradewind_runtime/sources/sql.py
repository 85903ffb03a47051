"""A table or a query of a database, as Arrow by ADBC: streamed, so that memory stays flat however many rows come.

With a cursor a run reads what lies beyond the last one's end, up to the highest value that its first step has seen.
Whoever commits late, below that end, is caught by `overlap`: that span is read again, and its rows take the place of
those that are there. Without a cursor each run reads all, in place of what was there. A cursor of dates has the last
day read again by each run, for a day goes on after a run has read it; so the moment of asking is a position too. Where
the table cannot tell a row's day, a day is read once it is over.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np
import pyarrow as pa

from tradewind_runtime import quarantine
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source, SqlSource
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Table
from tradewind_runtime.replacing import Replace
from tradewind_runtime.sources import Access, Chunk
from tradewind_runtime.sources.columns import known
from tradewind_runtime.sources.cursors import EPOCH, Cursor
from tradewind_runtime.sources.databases import Database, opened, quoted
from tradewind_runtime.sources.files import Blocks, FileRows, Origin
from tradewind_runtime.sources.files.base import ahead
from tradewind_runtime.sources.newcolumns import Columns

ASKED = "asked at"  # no column is called so
WAITING = 4  # batches that are read ahead of the writer


def end_position(source: Source, access: Access) -> dict[str, int]:
    """The cursor's highest value, or nothing where there is no row yet; without a cursor the moment of asking."""
    sql = _sql(source)
    if sql.cursor is None:
        return {"all": time.time_ns() // 1000}
    with opened(access.connection) as database:
        cursor = Cursor.of(sql.cursor, sql.overlap, database.schema(_select(sql)))
        found = database.value(_select(sql, give=f"max({quoted(cursor.name)})"))
    asked = {ASKED: time.time_ns() // 1000} if cursor.of_days else {}
    return {} if found is None else {cursor.name: cursor.number(found)} | asked


def read(source: Source, access: Access, end: Mapping[str, int], table: Table) -> Iterator[Chunk]:
    """What is new, as one chunk."""
    sql = _sql(source)
    done = _Done.of(end, table)
    if done.reached:
        return
    columns = Columns.of(source, known(source, table.schema()))
    with opened(access.connection) as database:
        found = database.schema(_select(sql))
        columns.settle(found)
        span = _Span.of(sql, found, columns.schema, database, done)
        if span is None:
            return
        mark, at, after = done.mark
        name_of = sql.table or "query"
        told = (
            quarantine.told(access.lake, table.name, name_of) if span.replace else frozenset()
        )  # else none comes again
        origin = Origin(f"{name_of}@{after}", mark, at or 0)
        rows = FileRows(columns, origin, _blocks(sql, access, database, span.where), "json")
        with closing(ahead(_batches(rows, told))) as batches:  # before the database is
            yield Chunk(
                schema=rows.schema,
                rows=batches,
                bad=rows.bad,
                positions={f"sql:{done.name}": Advance(done.before, span.last), mark: Advance(at, after), **span.days},
                marks={mark: after},
                replace=span.replace,
            )


def _batches(rows: FileRows, told: Container[bytes]) -> Iterator[pa.RecordBatch]:
    yield from rows.batches()
    quarantine.leave_out(rows.bad, told)


@dataclass(frozen=True)
class _Done:
    """How far a source was read, and how far it is to be."""

    name: str  # of the cursor
    before: int | None
    last: int
    asked_before: int | None = None
    asked: int | None = None  # when, of a cursor of dates
    days: int | None = None  # the last one, where days were read once they were over

    @classmethod
    def of(cls, end: Mapping[str, int], table: Table) -> _Done:
        name = next(name for name in end if name != ASKED)
        now = table.positions([f"sql:{name}", f"sql:{name}:asked", f"sql:{name}:days"])
        before, last, asked = now[f"sql:{name}"], end[name], end.get(ASKED)
        # A day that was the last may have gone by now, with all its rows.
        last = last if asked is None or before is None else max(last, before)
        return cls(name, before, last, now[f"sql:{name}:asked"], asked, now[f"sql:{name}:days"])

    @property
    def mark(self) -> tuple[str, int | None, int]:
        """The position that tells one reading from another, before and after."""
        if self.asked is None:
            return f"sql:{self.name}", self.before, self.last
        return f"sql:{self.name}:asked", self.asked_before, self.asked

    @property
    def reached(self) -> bool:
        """Whether there is nothing to do."""
        _, before, after = self.mark
        return before is not None and before >= after

    def keeps(self, whole: bool) -> None:
        """See that days are read as they were before: in the table's last one, or beyond it, rows would differ.

        Raises:
            StepError: TW527 where they were read otherwise.
        """
        before = self.days is not None
        if self.asked is None or self.asked_before is None or before == whole:
            return
        raise StepError(
            "TW527", f"the cursor {self.name!r} has {'left' if whole else 'come to'} columns, by which days are read",
            retryable=False, got="not in columns" if whole else "in columns",
            expected="not in columns" if before else "in columns",
            fix=f"{'take it out' if before else 'put it back'}, or read the table as a source of another name",
        )  # fmt: skip


@dataclass(frozen=True)
class _Span:
    """What is read."""

    where: str
    last: int  # up to which position
    replace: Replace | str | None  # which rows give way to it
    days: Mapping[str, Advance] = field(default_factory=dict)  # what says that days are read once they are over

    @classmethod
    def of(cls, sql: SqlSource, found: pa.Schema, columns: pa.Schema, database: Database, done: _Done) -> _Span | None:
        """What lies beyond the last run's end; None where no day is over yet that must be.

        Raises:
            StepError: TW527 where rows that are read again cannot be found in a table with these columns.
        """
        if sql.cursor is None:
            return cls("TRUE", done.last, "all")
        cursor, last, days = Cursor.of(sql.cursor, sql.overlap, found), done.last, {}
        whole = not (done.asked is None or sql.overlap or cursor.finds(columns))
        done.keeps(whole)
        if not whole:
            cursor.require(columns)
        elif (over := _over(cursor, sql, database, done)) is not None:
            cursor, last = replace(cursor, overlap=timedelta(0)), over
            days = {f"sql:{cursor.name}:days": Advance(done.days, over)}
        else:
            return None
        column = quoted(cursor.name)
        upper = f"{column} <= {_literal(cursor, last)}"
        if done.before is None:
            return cls(upper, last, None, days)
        lower = f"{column} > {_literal(cursor, cursor.first(done.before))}"
        return cls(f"{lower} AND {upper}", last, cursor.again(done.before), days)


def _over(cursor: Cursor, sql: SqlSource, database: Database, done: _Done) -> int | None:
    """The last of the days that were over when the run was pinned."""
    assert done.asked is not None, "of a cursor of dates the moment of asking is pinned"
    day = min(done.last, cursor.day_over(done.asked))
    last = f"max({quoted(cursor.name)})"
    found = database.value(_select(sql, f"{quoted(cursor.name)} <= {_literal(cursor, day)}", give=last))
    places = (done.before, None if found is None else cursor.number(found))
    return max((place for place in places if place is not None), default=None)


def _literal(cursor: Cursor, position: int) -> str:
    if cursor.counts:
        return str(position)
    moment = EPOCH + timedelta(microseconds=position)
    if pa.types.is_date(cursor.kind):
        return f"DATE '{moment.date()}'"
    zone = cursor.kind.tz
    return f"TIMESTAMP{'TZ' if zone else ''} '{moment:%Y-%m-%d %H:%M:%S.%f}{'+00' if zone else ''}'"


def _sql(source: Source) -> SqlSource:
    assert source.sql is not None
    return source.sql


def _from(sql: SqlSource) -> str:
    if sql.table is not None:
        return ".".join(map(quoted, sql.table.split(".")))
    return f"({str(sql.query).rstrip().rstrip(';')}) AS source"


def _select(sql: SqlSource, where: str = "TRUE", give: str = "*") -> str:
    """Its names and numbers are ours or quoted, and a query of the YAML's is for a session that may only read."""
    return f"SELECT {give} FROM {_from(sql)} WHERE {where}"  # noqa: S608


def _blocks(sql: SqlSource, access: Access, database: Database, where: str) -> Blocks:
    """Rows as they come, numbered; of several parts at once where the YAML says so, all of one moment."""
    if sql.split_by is None:
        batches = database.batches(_select(sql, where))
    else:
        queries = [_select(sql, one) for one in _ranges(sql, database, where)]
        batches = _parts(_Reading(access, database.moment()), queries)
    start = 0
    for batch in batches:
        yield pa.Table.from_batches([batch]), np.arange(start, start + batch.num_rows)
        start += batch.num_rows


def _ranges(sql: SqlSource, database: Database, where: str) -> list[str]:
    """Conditions that hold together for each row once."""
    column = quoted(str(sql.split_by))
    low, high = (database.value(_select(sql, where, give=f"{edge}({column})")) for edge in ("min", "max"))
    if low is None:
        return [where]
    edges = [int(low) + (int(high) - int(low) + 1) * part // sql.parts for part in range(1, sql.parts)]
    found = []
    for start, stop in zip([None, *edges], [*edges, None], strict=True):
        lower = f" AND {column} >= {start}" if start is not None else ""
        upper = f" AND {column} < {stop}" if stop is not None else ""
        found.append(f"({where}){lower}{upper}")
    found[0] = f"(({found[0]}) OR (({where}) AND {column} IS NULL))"
    return found


@dataclass(frozen=True)
class _Reading:
    """Batches that threads have read and nobody has taken yet: a few, so that memory stays flat."""

    access: Access
    moment: str
    ready: queue.Queue[pa.RecordBatch | Exception | None] = field(default_factory=lambda: queue.Queue(WAITING))
    stopped: threading.Event = field(default_factory=threading.Event)

    def fetch(self, query: str) -> None:
        """All that a query gives, and a last word."""
        try:
            with opened(self.access.connection, self.moment) as database:
                for batch in database.batches(query):
                    self._put(batch)
                    if self.stopped.is_set():
                        return
        except Exception as error:  # it is raised where the rows are taken
            self._put(error)
        self._put(None)

    def _put(self, what: pa.RecordBatch | Exception | None) -> None:
        while not self.stopped.is_set():
            with suppress(queue.Full):
                self.ready.put(what, timeout=0.2)
                return


def _parts(reading: _Reading, queries: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Each query by a session and a thread of its own; batches in the order in which they come."""
    threads = [threading.Thread(target=reading.fetch, args=(one,), daemon=True) for one in queries]
    for thread in threads:
        thread.start()
    try:
        left = len(threads)
        while left:
            found = reading.ready.get()
            if isinstance(found, Exception):
                raise found
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        reading.stopped.set()
        for thread in threads:
            thread.join()
