"""Rows that are older than their table keeps them go, in one commit, and the table remembers up to where.

A file whose rows are all old goes unread, by the bounds that the log has of it; of one that has younger rows too these
are written again. Positions of sources stay, so nothing is ingested again, and older versions stay as they were until
`vacuum` lets them go. How far a column's rows have gone is a position of the table, `retained:COLUMN`, in microseconds.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.actions import arrow_schema
from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.lake import Rewriting, Table
from tradewind_runtime.snapshot import Snapshot

if TYPE_CHECKING:
    from deltalake import DeltaTable

NO_TIME = "TW534"
COVERED = "covered"  # the position of what a transform has computed: see `incremental`
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Column → rows of earlier times have been deleted.
Cuts = Mapping[str, datetime]


class Expired(Frozen):
    """What went of a table."""

    table: str
    rows: int = 0
    files: int = 0  # that went whole
    rewritten: int = 0  # of which some rows stay


def expire(table: Table, by: str, cut: datetime) -> Expired:
    """Delete the rows whose time is earlier; those without a time stay.

    Args:
        table: any.
        by: its column of times or dates.
        cut: the earliest time that stays.

    Raises:
        StepError: TW534 where there is no such column, or it is none of times; TW521 where a rival is always first.
    """
    found = _Old()

    def choose(handle: DeltaTable) -> Rewriting | None:
        nonlocal found
        found = _look(table, handle, by, cut)
        if not (found.gone or found.some):
            return None
        at, before = (cut - EPOCH) // timedelta(microseconds=1), handle.transaction_version(_id(by))
        return Rewriting(
            [[path] for path in found.some],
            {
                "retained": {by: cut.isoformat()},
                "rows": -found.rows,
                "gone": [_short(table, path) for path in found.gone],
                "went": {_short(table, path): went for path, went in found.some.items()},
            },
            stay=(pc.field(by) >= _bound(cut, arrow_schema(handle), by)) | pc.field(by).is_null(),
            gone=found.gone,
            positions={_id(by): at if before is None else max(at, before), **_looked_at(handle)},
        )

    if table.rewrite(choose) is None:
        return Expired(table=table.name)
    return Expired(table=table.name, rows=found.rows, files=len(found.gone), rewritten=len(found.some))


def _looked_at(handle: DeltaTable) -> dict[str, int]:
    """Whoever has looked at what a transform's table covers looks again before it commits."""
    at = handle.transaction_version(COVERED)
    return {} if at is None else {COVERED: at + 1}


def cuts(table: Table, version: int | None = None) -> dict[str, datetime]:
    """Up to where the rows of a version have gone, by column; nothing where none have, or there is no table."""
    if not table.exists():
        return {}
    snapshot = table.snapshot(version)
    ids = {_id(one.name): one.name for one in snapshot.schema if is_time(one.type)}
    now = table.positions(ids, snapshot.version)
    return {ids[id]: EPOCH + timedelta(microseconds=at) for id, at in now.items() if at is not None}


def older(cuts: Cuts, schema: pa.Schema) -> pc.Expression:
    """Rows that are earlier than a cut, of one column at least.

    Args:
        cuts: of columns that are there; not none.
        schema: the columns.
    """
    return reduce(or_, (pc.field(column) < _bound(cut, schema, column) for column, cut in cuts.items()))


def _bound(cut: datetime, schema: pa.Schema, column: str) -> pa.Scalar:
    kind = schema.field(column).type
    return pa.scalar(_earliest(cut, kind), kind)


def _earliest(cut: datetime, kind: pa.DataType) -> datetime | date:
    """What stays: of dates those of which not the whole day is earlier."""
    if pa.types.is_date(kind):
        return cut.astimezone(UTC).date()
    return cut if kind.tz else cut.astimezone(UTC).replace(tzinfo=None)


@dataclass
class _Old:
    """Files with old rows."""

    rows: int = 0
    gone: list[str] = field(default_factory=list)
    some: dict[str, int] = field(default_factory=dict)  # path → how many of its rows go


def _look(table: Table, handle: DeltaTable, by: str, cut: datetime) -> _Old:
    schema, found = arrow_schema(handle), _Old()
    _require(table, schema, by)
    limit = _moment(_earliest(cut, schema.field(by).type))
    old = older({by: cut}, schema)
    for path, file in table.entries(handle, by).items():
        rows, low, high = int(file["num_records"]), file.get(f"min.{by}"), file.get(f"max.{by}")
        nulls = file.get(f"null_count.{by}")
        if nulls == rows or (low is not None and _moment(low) >= limit):
            continue
        if high is not None and nulls == 0 and _moment(high) < limit:
            count = rows
        else:
            count = Snapshot(table, handle.version(), (path,), schema).count(old)
        if count == rows:
            found.gone.append(path)
        elif count:
            found.some[path] = count
        found.rows += count
    return found


def _require(table: Table, schema: pa.Schema, by: str) -> None:
    times = [one.name for one in schema if is_time(one.type)]
    if by not in times:
        raise StepError(
            "TW534", f"table {table.name!r} has no column {by!r} of times to say how old its rows are",
            retryable=False, got=str(schema.field(by).type) if by in schema.names else "no such column",
            expected=", ".join(times) or "a column of type timestamp or date",
            suggestion=next(iter(difflib.get_close_matches(by, times, 1)), None),
            path=f"maintenance.retain.{table.name.rpartition('/')[2]}", fix="mend maintenance.retain; nothing has gone",
        )  # fmt: skip


def is_time(kind: pa.DataType) -> bool:
    """Whether a column of this type may say how old its rows are."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _moment(value: Any) -> datetime:
    """A bound of the log, or a limit: with a zone or without, or a date."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    assert isinstance(value, date), "bounds of a column of times are times"
    return datetime(value.year, value.month, value.day, tzinfo=UTC)


def _id(column: str) -> str:
    return f"retained:{column}"


def _short(table: Table, path: str) -> str:
    return path.removeprefix(f"{table.uri}/")
