"""Objects of a store, or files of a folder: each version of each object once, small new ones several in a commit.

An object's version is its ETag (of a store) or its size and time (files). In the table, `object:<key>` counts the
versions of a key that were taken in, and `object:<key>@<version>` is that count at the time: the version whose
number is its key's is in place. So an object that was written again, even back to what it once was, is read again
and its rows take the place of the older ones. With `mode: replace` one object, the newest, holds the whole table:
`objects` counts those, and `objects:<key>@<version>` is that count; `objects:pinned` is when the run was pinned that
took one in, in microseconds, so that a run from before it which is done again takes nothing back.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import PurePosixPath
from threading import Event

import pyarrow as pa

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import ObjectsSource, Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Table
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.replacing import Replace
from tradewind_runtime.sources import Access, BrokenObjectsError, Chunk
from tradewind_runtime.sources.columns import known
from tradewind_runtime.sources.cursors import EPOCH
from tradewind_runtime.sources.files import FORMATS, Dialect, FileRows, Origin, open_rows
from tradewind_runtime.sources.files.base import BLOCK, ROWS, Part, Small, ahead, at_once, suiting, typed
from tradewind_runtime.sources.listing import matching
from tradewind_runtime.sources.newcolumns import Columns, tell_left_out
from tradewind_runtime.sources.stores import Place
from tradewind_runtime.sources.stores.pinned import CHANGED, Pinned, fetched
from tradewind_runtime.staging import grouped
from tradewind_runtime.widening import together

UNREADABLE = "TW527"
WHOLE = "objects"  # whose one object is all of the table
PINNED = "objects:pinned"
TOGETHER = 1_000  # objects of a commit: each has two positions there, which stay in the table's log
ROW = 256  # bytes of files that count as one of a chunk's rows
AHEAD = 3  # batches that wait for the writer, which takes now longer and now less than the reader

log = logging.getLogger("tradewind")


def end_position(source: Source, access: Access) -> dict[str, str]:
    """The objects that match now, and their versions; with `mode: replace` the newest alone."""
    return matching(objects_of(source), access)


def read(source: Source, access: Access, end: Mapping[str, str], table: Table) -> Iterator[Chunk]:
    """The pinned objects that are not in place: those that are new several in a chunk, others one by one.

    Raises:
        BrokenObjectsError: for those that are broken, once the others are given.
    """
    yield from chunks(source, access, wanted(source, access, end, table), table.schema())


def chunks(
    source: Source, access: Access, objects: Sequence[Wanted], columns: pa.Schema | None
) -> Generator[Chunk, None, None]:
    """The rows of some objects, in their order; those of the next chunk are opened while one is used.

    Where one has broken already, each is read through before it is taken: so many broken ones cost no more than a few.

    Args:
        source: which.
        access: to it.
        objects: of it.
        columns: of their table, where there is one.
    """
    ended = Event()
    pins = ((one.key, one.version) for one in objects)
    first = _Group(source, known(source, columns), ended, careful=bool(access.left_out))
    with (
        closing(fetched(Place.of(objects_of(source).uri, access), pins, access.scratch, ended)) as files,
        closing(ahead(_groups(first, zip(objects, files, strict=False), access.chunk_rows * ROW))) as groups,
    ):
        try:
            for group in groups:
                yield from group.chunk()
        finally:
            ended.set()  # nobody waits for what is not wanted any more


def _groups(group: _Group, files: Iterable[tuple[Wanted, Pinned]], most: int) -> Iterator[_Group]:
    """What is committed together, of about so many bytes; none is empty."""
    broken: dict[str, StepError] = {}
    try:
        for one, file in files:
            if group.parts and not one.new:
                yield group
                group = group.next()
            try:
                group.add(one, file)
            except BrokenObjectsError as found:
                broken |= found.errors
                file.forget()
                continue
            if not one.new or group.size >= most or len(group.parts) == TOGETHER:
                yield group
                group = group.next()
    except StepError:
        if group.parts:
            yield group
        raise
    if group.parts:
        yield group
    if broken:
        raise BrokenObjectsError(broken)


@dataclass(frozen=True)
class Wanted:
    """A version of an object, and the positions that stand for it."""

    key: str
    version: str
    counter: str
    mark: str
    counted: int | None
    marked: int | None
    besides: Mapping[str, Advance] = field(default_factory=dict)  # what moves too

    @property
    def new(self) -> bool:
        """Whether no row of the table gives way to its own."""
        return self.counted is None

    @property
    def positions(self) -> dict[str, Advance]:
        """What moves once its rows are in the table."""
        after = (self.counted or 0) + 1
        return {self.counter: Advance(self.counted, after), self.mark: Advance(self.marked, after), **self.besides}


def ids_of(objects: ObjectsSource, end: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The transactions of each pinned version: that of its key (of all, where one object is the table) and its own."""
    if objects.mode == "replace":
        return {key: (WHOLE, f"{WHOLE}:{key}@{at}") for key, at in end.items()}
    return {key: (f"object:{key}", f"object:{key}@{at}") for key, at in end.items()}


def in_place(now: Mapping[str, int | None], count: str, mark: str) -> bool:
    """Whether a version is what the table has of its object."""
    return now[mark] is not None and now[mark] == now[count]


def wanted(source: Source, access: Access, end: Mapping[str, str], table: Table) -> list[Wanted]:
    """What is pinned and not in place, but for what is left out.

    Raises:
        StepError: TW527 where the table was one object's, so that what it has of each is not known.
    """
    objects = objects_of(source)
    ids = ids_of(objects, end)
    now = table.positions({WHOLE, PINNED, *(id for pair in ids.values() for id in pair)})
    if objects.mode == "append" and now[WHOLE] is not None:
        raise StepError(
            "TW527", f"{table.name} was read with mode: replace", retryable=False, got="mode: append",
            expected="mode: replace", fix="put it back, or read the objects as a source of another name",
        )  # fmt: skip
    besides: dict[str, Advance] = {}
    if objects.mode == "replace" and (moment := _moment(access.pinned)) is not None:
        if (before := now[PINNED]) is not None and moment < before:
            log.info("%s: a later run has taken in what was there then", table.name)
            return []
        besides = {PINNED: Advance(before, moment)}
    return [
        Wanted(key, end[key], count, mark, now[count], now[mark], besides)
        for key, (count, mark) in ids.items()
        if not in_place(now, count, mark) and key not in access.left_out
    ]


def _moment(pinned: str | None) -> int | None:
    """In microseconds."""
    return (datetime.fromisoformat(pinned) - EPOCH) // timedelta(microseconds=1) if pinned else None


@dataclass
class _Group:
    """Objects of one chunk. Each has the columns of those before it, and may add to them."""

    source: Source
    columns: pa.Schema  # of the table and the objects before
    ended: Event  # set once nobody wants it
    careful: bool
    parts: list[tuple[Wanted, Pinned, FileRows]] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    size: int = 0  # bytes, of files or of what waits for its turn

    def next(self) -> _Group:
        """That of the objects after these."""
        return _Group(self.source, self.columns, self.ended, self.careful)

    def add(self, one: Wanted, file: Pinned) -> None:
        """One more, opened; not yet read, or where the group is careful, once before.

        Raises:
            BrokenObjectsError: where it is broken; the group is then as it was.
        """
        with _told_of(file):
            if file.changed:
                raise file.changed
            if self.careful:
                for _ in self._opened(one, file, []).parts():
                    if self.ended.is_set():
                        return
            rows = self._opened(one, file, self.bad)
        self.parts.append((one, file, rows))
        self.size += max(file.size, rows.small.held if rows.small else 0)
        self.columns = rows.columns.schema

    def _opened(self, one: Wanted, file: Pinned, bad: list[Bad]) -> FileRows:
        objects, columns = objects_of(self.source), Columns.of(self.source, self.columns)
        rows = open_rows(
            file.path, format_of(objects, one.key), columns, dialect=dialect_of(objects),
            origin=Origin(one.key, one.mark, one.marked or 0), bad=bad,
        )  # fmt: skip
        suiting(rows)
        return rows

    def chunk(self) -> Iterator[Chunk]:
        """All of it, to be committed at once."""
        first, last = self.parts[0][0], self.parts[-1][0]
        log.info("reading %s", first.key if first is last else f"{len(self.parts)} objects, {first.key} to {last.key}")
        schema = self.parts[-1][2].schema
        positions = {id: move for one, _, _ in self.parts for id, move in one.positions.items()}
        with closing(ahead(self._rows(schema), AHEAD)) as rows:  # nothing is read once the next attempt begins
            yield Chunk(
                schema=schema,
                rows=rows,
                bad=self.bad,
                positions=positions,
                marks={one.mark: positions[one.mark].after for one, _, _ in self.parts},
                replace=replaced(objects_of(self.source), first),
            )
        tell_left_out(first.key, {name for _, _, rows in self.parts for name in rows.columns.left_out})

    def _rows(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """A few rows of many objects are typed at once, and are one part of a file in the table."""
        for group in grouped(self._each(), ROWS, BLOCK):
            tables = [typed(list(alike)) for _, alike in groupby(group, key=attrgetter("like"))]
            yield from together(tables, schema, objects_of(self.source).uri).to_batches()

    def _each(self) -> Iterator[Part]:
        """Of all; none is done before it was seen that it has not changed under our hands."""
        try:
            for few in self._alike():
                found = at_once([rows for _, _, rows in few])
                yield from found or ()
                for _, file, rows in few:
                    with _told_of(file):
                        if found is None:
                            yield from rows.parts()
                        file.check()
                    file.forget()
        finally:  # what an error is told of is kept with it
            for _, _, rows in self.parts:
                rows.forget()

    def _alike(self) -> Iterator[list[tuple[Wanted, Pinned, FileRows]]]:
        """In their order: small ones of one kind, as many as are parsed at once, and others alone."""
        few: list[tuple[Wanted, Pinned, FileRows]] = []
        share = 0.0
        for part in self.parts:
            small = part[2].small
            if few and (small is None or share + small.share > 1 or not _like(few[-1][2], small)):
                yield few
                few, share = [], 0.0
            few.append(part)
            share += small.share if small else 0
        if few:
            yield few


def _like(rows: FileRows, small: Small) -> bool:
    return rows.small is not None and rows.small.kind == small.kind


@contextmanager
def _told_of(file: Pinned) -> Iterator[None]:
    """What is wrong with an object as a whole is its own: others are read all the same.

    Raises:
        BrokenObjectsError: with what is wrong: TW526 where it is another by now, for then that is why.
    """
    try:
        yield
    except StepError as error:
        if error.problems[0].code not in {UNREADABLE, CHANGED}:
            raise
        raise BrokenObjectsError({file.key: _why(file, error)}) from error


def _why(file: Pinned, error: StepError) -> StepError:
    """One that is another by now cannot be read for that."""
    try:
        file.check()
    except StepError as changed:
        return changed
    return error


def replaced(objects: ObjectsSource, one: Wanted) -> Replace | str | None:
    """What gives way to an object."""
    if objects.mode == "replace":
        return "all"
    return None if one.new else Replace("_source", one.key, one.key + "\0")


def objects_of(source: Source) -> ObjectsSource:
    """A source of this kind."""
    assert source.objects is not None
    return source.objects


def dialect_of(objects: ObjectsSource) -> Dialect:
    """How a CSV of them is written."""
    return Dialect(objects.nulls, objects.delimiter)


def format_of(objects: ObjectsSource, key: str) -> str:
    """How an object is written.

    Raises:
        StepError: TW527 where neither the YAML nor its name says it.
    """
    if objects.format:
        return objects.format
    suffixes: Iterable[str] = [suffix.lower() for suffix in PurePosixPath(key).suffixes]
    found = [FORMATS[suffix] for suffix in suffixes if suffix in FORMATS]
    if not found:
        raise StepError(
            "TW527",
            f"what {key} holds cannot be told by its name",
            retryable=False,
            expected=", ".join(sorted(FORMATS)),
            fix="set objects.format",
        )
    return found[-1]
