"""What of a table gives way to a commit: everything, or the rows of spans, down to parts of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from tradewind_runtime.actions import add, arrow_schema, remove
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.staging import cut_of, describe, write_files

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from tradewind_runtime.lake import Table

AT_ONCE = 100  # spans of a condition: Arrow goes as deep as there are, and dies of very many
TOLD = "replaced"  # the name, in a commit's metadata, of the spans that it replaced and of what became of files


@dataclass(frozen=True)
class Replace:
    """Rows with `start <= column < end` give way to the commit's."""

    column: str
    start: datetime | date | str | int
    end: datetime | date | str | int


@dataclass(frozen=True)
class Without:
    """Rows that have one of these keys give way, whichever file they are in by now."""

    keys: pa.Table  # a column of the same name and type for each part of the key


@dataclass(frozen=True)
class But:
    """All rows give way but these."""

    stay: pc.Expression


#: What a commit's rows take the place of: spans of one column, some keys, all but some, or (any text) all.
Replacing: TypeAlias = But | Replace | Sequence[Replace] | Without | str


def removals(
    table: Table, handle: DeltaTable, replace: Replacing | None
) -> tuple[list[AddAction | RemoveAction], dict[str, Any]]:
    """Remove the files of a span; of one that reaches beyond it, keep the rows outside in a new file.

    Of spans the table's history is told where the rows outside are, so that nobody takes them for new ones.

    Args:
        table: of which they are.
        handle: its version that the commit is to follow.
        replace: what gives way.

    Returns:
        What the commit does, and what it is told.
    """
    if replace is None:
        return [], {}
    schema = arrow_schema(handle)

    def read(path: str) -> ds.Dataset:
        return Snapshot(table, handle.version(), (table.absolute(path),), schema).dataset()

    actions: list[AddAction | RemoveAction] = []
    gone: list[str] = []
    files: dict[str, list[str]] = {}
    went: dict[str, int] = {}
    for row, kept in _giving_way(table.entries(handle, *_columns(replace)).values(), replace, schema, read):
        actions.append(remove(row))
        path = unquote(row["path"])
        if kept is None:
            gone.append(path)
            continue
        went[path] = row["num_records"] - kept.num_rows
        written = write_files(table.filesystem, table.staging(), kept.to_batches(), schema, name=cut_of(path))
        for staged in (describe(table.filesystem, table.uri, one) for one in written):
            actions.append(add(staged))
            files[staged.path] = [path]
    spans = _told(replace)
    return actions, {TOLD: {**spans, "gone": gone, "files": files, "went": went}} if spans else {}


def _giving_way(
    files: Iterable[Mapping[str, Any]],
    replace: Replacing,
    schema: pa.Schema,
    read: Callable[[str], ds.Dataset],
) -> Iterator[tuple[Mapping[str, Any], pa.Table | None]]:
    """Files that must go, each with those of its rows that lie outside the span and are to stay.

    Args:
        files: the table's, with their bounds: Delta's add actions, flattened.
        replace: a span or several of one column, keys, all but some, or any text for all.
        schema: of the table.
        read: gives the rows of one of them, by the path that it has there.
    """
    if isinstance(replace, str):
        yield from ((file, None) for file in files)
        return
    if isinstance(replace, Without):
        yield from _without(files, replace.keys, read)
        return
    if isinstance(replace, But):
        yield from _but(files, replace.stay, read)
        return
    spans = [replace] if isinstance(replace, Replace) else list(replace)
    if spans:
        yield from _spans(files, spans, schema, read)


def _columns(replace: Replacing) -> set[str]:
    """Those whose bounds say which files have what gives way."""
    spans = [replace] if isinstance(replace, Replace) else replace
    return set() if isinstance(spans, str | Without | But) else {span.column for span in spans}


def _spans(
    files: Iterable[Mapping[str, Any]],
    spans: Sequence[Replace],
    schema: pa.Schema,
    read: Callable[[str], ds.Dataset],
) -> Iterator[tuple[Mapping[str, Any], pa.Table | None]]:
    name = spans[0].column
    kind, column = schema.field(name).type, pc.field(name)
    bounds = _joined((as_type(span.start, kind), as_type(span.end, kind)) for span in spans)
    for file in files:
        low, high = file.get(f"min.{name}"), file.get(f"max.{name}")
        known = low is not None and high is not None
        within = [(start, end) for start, end in bounds if not known or (start <= high and low < end)]
        if not within:
            continue
        rows = read(file["path"])
        first, *others = (_outside(column, within[at : at + AT_ONCE]) for at in range(0, len(within), AT_ONCE))
        kept = rows.to_table(filter=first)
        for outside in others:
            kept = kept.filter(outside)
        if kept.num_rows != rows.count_rows():
            yield file, kept if kept.num_rows else None


def _outside(column: pc.Expression, bounds: Sequence[tuple[Any, Any]]) -> pc.Expression:
    return reduce(and_, [(column < start) | (column >= end) for start, end in bounds]) | column.is_null()


def _joined(bounds: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Spans without those that overlap, or begin where another ends: each costs a comparison of every row."""
    found: list[tuple[Any, Any]] = []
    for start, end in sorted(bounds):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _without(
    files: Iterable[Mapping[str, Any]], keys: pa.Table, read: Callable[[str], ds.Dataset]
) -> Iterator[tuple[Mapping[str, Any], pa.Table | None]]:
    for file in files:
        rows = read(file["path"]).to_table()
        kept = rows.join(keys, keys.column_names, join_type="left anti")
        if kept.num_rows != rows.num_rows:
            yield file, kept.select(rows.column_names) if kept.num_rows else None


def _but(
    files: Iterable[Mapping[str, Any]], stay: pc.Expression, read: Callable[[str], ds.Dataset]
) -> Iterator[tuple[Mapping[str, Any], pa.Table | None]]:
    for file in files:
        rows = read(file["path"])
        left = rows.count_rows(filter=stay)  # reads the columns that it names
        if left < rows.count_rows():
            yield file, rows.to_table(filter=stay) if left else None


def _told(replace: Replacing) -> dict[str, Any]:
    """Spans, as a commit's metadata has them; of what is no span nothing is told."""
    spans = [replace] if isinstance(replace, Replace) else replace
    if isinstance(spans, str | Without | But) or not spans:
        return {}
    bounds = [[str(bound) if isinstance(bound, date) else bound for bound in (one.start, one.end)] for one in spans]
    return {"column": spans[0].column, "spans": bounds}


def spans_of(told: Mapping[str, Any], schema: pa.Schema) -> list[Replace]:
    """The spans that a commit was told it replaced."""
    name = told["column"]
    of_time = pa.types.is_temporal(schema.field(name).type)
    read: Callable[[Any], Any] = datetime.fromisoformat if of_time else lambda bound: bound
    return [Replace(name, read(start), read(end)) for start, end in told["spans"]]


def as_type(bound: datetime | date | str | int, kind: pa.DataType) -> datetime | date | str | int:
    """A bound that compares with a column's values: a moment in a column of dates is the next midnight."""
    if not isinstance(bound, datetime):
        return bound
    moment = bound if bound.tzinfo else bound.replace(tzinfo=UTC)
    if pa.types.is_date(kind):
        day = moment.astimezone(UTC)
        return day.date() if day.time() == day.min.time() else day.date() + timedelta(days=1)
    return moment if kind.tz else moment.astimezone(UTC).replace(tzinfo=None)
