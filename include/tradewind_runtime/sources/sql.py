"""A table or a query of a database, as Arrow by ADBC: streamed, so that memory stays flat however many rows come.

With a cursor a run reads what lies beyond the last one's end, up to the highest value that its first step has seen.
Whoever commits late, below that end, is caught by `overlap`: each run reads that span again, and its rows take the
place of those that are there; so the moment of asking is a position too. Without a cursor each run reads all, in place
of what was there. A cursor of dates has the last day read again, for a day goes on after a run has read it. Where the
table cannot tell a row's day, a day is read once it is over. Of which table and by which cursor rows were read is a
position as well: where it is another, a run begins anew, and its rows take the place of all.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pyarrow as pa

from tradewind_runtime import quarantine
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source, SqlSource
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Table
from tradewind_runtime.replacing import Replace, as_type
from tradewind_runtime.sources import Access, Chunk
from tradewind_runtime.sources.columns import known
from tradewind_runtime.sources.cursors import EPOCH, Cursor, number_of
from tradewind_runtime.sources.databases import Database, opened, quoted
from tradewind_runtime.sources.files import Blocks, FileRows, Origin
from tradewind_runtime.sources.files.base import ahead
from tradewind_runtime.sources.newcolumns import Columns, tell_left_out
from tradewind_runtime.sources.sql_parts import at_once
from tradewind_runtime.sources.sql_progress import ASKED, PINNED, SOURCE, Progress


def end_position(source: Source, access: Access) -> dict[str, int]:
    """The cursor's highest value, or nothing where there is no row yet; without a cursor the moment of asking."""
    sql, now = _sql(source), time.time_ns() // 1000
    if sql.cursor is None:
        return {"all": now, SOURCE: number_of(sql.table, None)}
    with opened(access.connection) as database:
        cursor = Cursor.of(sql.cursor, sql.overlap, database.schema(_select(sql)))
        found = _highest(cursor, sql, database)
    asked = {ASKED: now} if cursor.overlap else {}
    return {} if found is None else {cursor.name: found, PINNED: now, SOURCE: number_of(sql.table, sql.cursor)} | asked


def read(source: Source, access: Access, end: Mapping[str, int], table: Table) -> Iterator[Chunk]:
    """What is new, as one chunk."""
    sql = _sql(source)
    done = Progress.of(sql, end, table)
    if done.reached:
        return
    columns = Columns.of(source, known(source, table.schema()))
    with opened(access.connection) as database:
        found = database.schema(_select(sql))
        columns.settle(found)
        _require_parts(sql, found)
        span = _Span.of(sql, found, columns.schema, database, done)
        if span is None:
            return
        mark, at, after = done.mark
        moves = done.moves(span.last, span.over)
        name_of = _name(sql)
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
                positions={id: Advance(done.now[id], to) for id, to in moves.items()},
                marks={mark: after},
                replace=span.replace,
            )
    tell_left_out(name_of, columns.left_out)


def _batches(rows: FileRows, told: Container[bytes]) -> Iterator[pa.RecordBatch]:
    yield from rows.batches()
    quarantine.leave_out(rows.bad, told)


@dataclass(frozen=True)
class _Span:
    """What is read."""

    where: str
    last: int  # up to which position
    replace: Replace | str | None  # which rows give way to it
    over: int | None = None  # the same, where days are read once they are over

    @classmethod
    def of(
        cls, sql: SqlSource, found: pa.Schema, columns: pa.Schema, database: Database, done: Progress
    ) -> _Span | None:
        """What lies beyond the last run's end; None where no day is over yet that must be.

        Raises:
            StepError: TW527 where rows that are read again cannot be found in a table with these columns.
        """
        if sql.cursor is None:
            return cls("TRUE", done.last, "all")
        cursor, last, over = Cursor.of(sql.cursor, sql.overlap, found), done.last, None
        whole = cursor.of_days and not (done.asked is None or sql.overlap or cursor.finds(columns))
        if cursor.of_days:
            done.keeps(whole)
        if not whole:
            cursor.require(columns)
            _require_around(cursor, sql, last)
        elif (over := _over(cursor, sql, database, done)) is not None:
            cursor, last = replace(cursor, overlap=timedelta(0)), over
        else:
            return None
        column = quoted(cursor.name)
        upper = f"{column} <= {_literal(cursor, last)}"
        if done.before is None:
            return cls(upper, last, "all" if done.anew else None, over)
        lower = f"{column} > {_literal(cursor, cursor.first(done.before))}"
        return cls(f"{lower} AND {upper}", last, cursor.again(done.before), over)


def _over(cursor: Cursor, sql: SqlSource, database: Database, done: Progress) -> int | None:
    """The last of the days that were over when the run was pinned."""
    assert done.asked is not None, "of a cursor of dates the moment of asking is pinned"
    day = min(done.last, cursor.day_over(done.asked))
    found = _highest(cursor, sql, database, f"{quoted(cursor.name)} <= {_literal(cursor, day)}")
    return max((place for place in (done.before, found) if place is not None), default=None)


def _highest(cursor: Cursor, sql: SqlSource, database: Database, where: str = "TRUE") -> int | None:
    """The position of the highest value, where there is a row.

    Raises:
        StepError: TW527 where it is a time that Python has not, as `infinity`.
    """
    highest = f"max({quoted(cursor.name)})"
    try:
        found = database.value(_select(sql, where, give=highest))
    except (OverflowError, ValueError) as error:
        text = database.value(_select(sql, where, give=f"CAST({highest} AS text)"))
        raise _too_far(cursor, sql, text) from error
    return None if found is None else cursor.number(found)


def _require_around(cursor: Cursor, sql: SqlSource, last: int) -> None:
    """See that the next run has times to compare with, below and above the place where this one ends.

    Raises:
        StepError: TW527 where it has not.
    """
    try:
        for edge in (cursor.first(last), last + 1 if cursor.overlap else last):
            as_type(cursor.value(edge), cursor.kind)
    except OverflowError as error:
        raise _too_far(cursor, sql, str(cursor.value(last))) from error


def _too_far(cursor: Cursor, sql: SqlSource, got: str) -> StepError:
    return StepError(
        "TW527", f"the cursor's highest value, {_name(sql)}.{cursor.name}, is too far away", retryable=False,
        got=got, expected="a time of the years 1 to 9999", fix="mend its row, or leave it out by a query",
    )  # fmt: skip


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


def _name(sql: SqlSource) -> str:
    return sql.table or "query"


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
        batches = at_once(access.connection, database.moment(), queries)
    start = 0
    for batch in batches:
        yield pa.Table.from_batches([batch]), np.arange(start, start + batch.num_rows)
        start += batch.num_rows


def _require_parts(sql: SqlSource, found: pa.Schema) -> None:
    """See that parts are cut by whole numbers.

    Raises:
        StepError: TW527 where they are not.
    """
    kind = found.field(sql.split_by).type if sql.split_by in found.names else None
    if sql.split_by is None or (kind is not None and pa.types.is_integer(kind)):
        return
    raise StepError(
        "TW527", f"split_by, {_name(sql)}.{sql.split_by}, is no column of whole numbers", retryable=False,
        got="no such column" if kind is None else str(kind), expected="an integer",
        fix="name a column of whole numbers",
    )  # fmt: skip


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
