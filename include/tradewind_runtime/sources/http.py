"""An HTTP API, page by page: streamed, so that memory stays flat however many pages come.

An API cannot be asked where it ends, so a run is pinned to a moment. In the table `http:until` is that of the last
run, and `http:<cursor>` the highest value that was taken in; both move in the commit that has the rows. With a cursor
of times, rows of after the moment are left to the next run. That goes on from the highest value, not from the moment:
the API's clock may be behind ours. Without a cursor each run takes all, in place of what was there, and so does the
first one by another cursor or of another path.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import quarantine
from tradewind_runtime.contract.http import HttpSource
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Table
from tradewind_runtime.replacing import Replace
from tradewind_runtime.sources import Access, Chunk
from tradewind_runtime.sources.columns import RESERVED, TIMESTAMP, known
from tradewind_runtime.sources.cursors import EPOCH, NEVER, Cursor, number_of
from tradewind_runtime.sources.files import FileRows, Origin
from tradewind_runtime.sources.http_client import opened
from tradewind_runtime.sources.http_pages import pages
from tradewind_runtime.sources.http_rows import Answers, numbered
from tradewind_runtime.sources.newcolumns import Columns, tell_left_out

UNTIL = "http:until"
PATH = "http::path"  # no cursor's position is called so


def end_position(source: Source, access: Access) -> dict[str, int]:  # noqa: ARG001 - as every source
    """The moment of asking, in microseconds."""
    return {"until": time.time_ns() // 1000}


def read(source: Source, access: Access, end: Mapping[str, int], table: Table) -> Iterator[Chunk]:
    """What is new, as one chunk: pages have no order by which some of them could be a position."""
    http, until = _http(source), end["until"]
    read_before = _Before.of(http, table)
    if read_before.until is not None and read_before.until >= until:
        return
    columns = Columns.of(source, known(source, table.schema()))
    with opened(access.connection, http.pause) as api:
        answers = Answers(http, api)
        asked = _asked(http, columns.schema, read_before.highest)
        texts = numbered(pages(http, api, answers, asked), access.chunk_rows)
        first = next(texts, ([], 0))
        decoder = answers.decoder(columns)
        if columns.grows and first[0]:  # the first rows say which columns there are
            _learn(http, columns, first[0])
            decoder.decode(first[0])
            columns.settle(pa.schema([]))
        if not first[0] and (columns.first or (http.cursor and http.cursor not in columns.schema.names)):
            return  # nobody knows yet what a row is
        origin = Origin(f"{http.path}@{EPOCH + timedelta(microseconds=until):%Y-%m-%dT%H:%M:%S.%fZ}", UNTIL, until - 1)
        rows = FileRows(columns, origin, iter(()), "json")
        rows.raw = rows.decoded(chain([first], texts), decoder)
        cursor = _cursor(http, columns.schema) if http.cursor else None
        taken = _Taken(rows, read_before, until, cursor, quarantine.told(access.lake, table.name, http.path))
        yield Chunk(
            schema=rows.schema,
            rows=taken.batches(),
            bad=rows.bad,
            positions=taken.positions,
            marks={UNTIL: until},
            replace=taken.replace,
        )
        tell_left_out(http.path, columns.left_out)


@dataclass(frozen=True)
class _Before:
    """How far earlier runs have come."""

    until: int | None  # the last run's moment
    path: Advance  # what tells its path from others, and this run's
    id: str = ""  # of the cursor, where there is one
    own: int | None = None  # the moment of the last run by this cursor
    position: int | None = None  # that it has in the table

    @classmethod
    def of(cls, http: HttpSource, table: Table) -> _Before:
        id = f"http:{http.cursor}"
        now = table.positions([UNTIL, PATH, f"{id}:until", id])
        path = Advance(now[PATH], number_of(http.path))
        return cls(now[UNTIL], path, id, now[f"{id}:until"], now[id])

    @property
    def goes_on(self) -> bool:
        """Whether the rows that are there were taken of the same path by the same cursor; else all are taken anew."""
        return self.own == self.until and self.path.before in {None, self.path.after}

    @property
    def highest(self) -> int | None:
        """The value that was the cursor's highest."""
        return self.position if self.goes_on and self.position != NEVER else None


@dataclass
class _Taken:
    """Rows that are of this run; reading `batches` fills in `positions`."""

    rows: FileRows
    before: _Before
    until: int
    cursor: Cursor | None
    told: frozenset[bytes]  # refused rows that are in quarantine
    positions: dict[str, Advance] = field(default_factory=dict)

    @property
    def replace(self) -> Replace | str | None:
        """Which rows of the table give way to them."""
        if self.cursor is None or (self.before.until is not None and not self.before.goes_on):
            return "all"
        return None if self.before.highest is None else self.cursor.again(self.before.highest)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Beyond the last run's end, and up to this one's moment."""
        highest = self.before.highest
        for batch in self.rows.batches():
            if self.cursor is None:
                yield batch
                continue
            places = self.cursor.positions(batch.column(self.cursor.name))
            self._refuse(batch, places, self.cursor.name)
            mine = self._mine(places, self.cursor)
            found = pc.max(places.filter(mine)).as_py()
            highest = max((one for one in (highest, found) if one is not None), default=None)
            yield batch.filter(mine)
        quarantine.leave_out(self.rows.bad, self.told)
        self.positions |= {UNTIL: Advance(self.before.until, self.until), PATH: self.before.path}
        if self.cursor is not None:
            self.positions[f"{self.before.id}:until"] = Advance(self.before.own, self.until)
            now = NEVER if highest is None and self.before.position is not None else highest
            if now is not None and now != self.before.position:
                self.positions[self.before.id] = Advance(self.before.position, now)

    def _mine(self, places: pa.Array, cursor: Cursor) -> pa.Array:
        mine = places.is_valid()
        if self.before.highest is not None:
            mine = pc.and_kleene(mine, pc.greater(places, cursor.first(self.before.highest)))
        return mine if cursor.counts else pc.and_kleene(mine, pc.less_equal(places, self.until))

    def _refuse(self, batch: pa.RecordBatch, places: pa.Array, name: str) -> None:
        """Rows without a value can be placed nowhere: they would come again and again."""
        for row in np.flatnonzero(places.is_null()):
            (found,) = batch.slice(int(row), 1).to_pylist()
            content = {key: value for key, value in found.items() if key not in RESERVED}
            text = json.dumps(content, default=str).encode()
            self.rows.refuse(found["_position"], f"the cursor {name} has no value", text)


def _http(source: Source) -> HttpSource:
    assert source.http is not None
    return source.http


def _cursor(http: HttpSource, schema: pa.Schema) -> Cursor:
    assert http.cursor is not None
    return Cursor.of(http.cursor, http.overlap, schema)


def _asked(http: HttpSource, schema: pa.Schema, highest: int | None) -> dict[str, str]:
    """What the API is asked for besides the YAML's params: never less than what is new, though its times are coarse."""
    if http.since is None or highest is None:
        return {}
    cursor = _cursor(http, schema)
    first = cursor.first(highest)
    if cursor.counts:
        return {http.since: str(first)}
    moment = EPOCH + timedelta(microseconds=first)
    words = {
        "date": f"{moment - timedelta(days=1):%Y-%m-%d}",  # elsewhere days begin earlier; what is too much is left out
        "seconds": str(first // 1_000_000),
        "milliseconds": str(first // 1_000),
    }
    return {http.since: words.get(http.since_as or "", f"{moment:%Y-%m-%dT%H:%M:%SZ}")}


def _learn(http: HttpSource, columns: Columns, texts: list[bytes]) -> None:
    """The type of a cursor that is not known yet, by its first value: a text is a time."""
    if http.format == "csv" or http.cursor is None or http.cursor in columns.schema.names:
        return
    for text in texts:
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            continue
        value = row.get(http.cursor) if isinstance(row, dict) else None
        if isinstance(value, str):
            columns.schema = columns.schema.append(pa.field(http.cursor, TIMESTAMP))
        elif isinstance(value, int) and not isinstance(value, bool):
            columns.schema = columns.schema.append(pa.field(http.cursor, pa.int64()))
        if value is not None:
            return
