"""What of a transform's table is to be computed: what never was, and what stands on days whose rows are others by now.

Each commit tells by which recipe (configuration, code, environment) its rows were computed, from which versions, and
which time the table covers by them. The next run compares the files of those versions with its own: files of tables
with a time hold rows of one day, and their bounds are in the log, so no row is read. Whatever cannot be told this way
is computed anew as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from datetime import time as clock
from itertools import islice
from typing import Any

from deltalake.exceptions import DeltaError
from pydantic import ValidationError

from tradewind_runtime import retention
from tradewind_runtime.compaction import between, still_there
from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.lake import Table
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.spans import DAY, FIRST, days, earlier, later, midnight, minus, union

TOLD = retention.COVERED  # the name of `Covered` in a commit's metadata, and of the position that each one moves
RECENT = 20  # commits; mostly the newest tells it
PARTS = 4  # each is a session of the engine's own: more than these are one, with what lies between


class Covered(Frozen):
    """How the rows of a table came to be."""

    recipe: str
    read: dict[str, int]  # table → version
    ids: dict[str, str]  # table → its own id: one that was made again has another
    spans: tuple[Window, ...]


@dataclass(frozen=True)
class Todo:
    """What is to be computed, and what the table covers then."""

    spans: tuple[Window, ...]
    covered: Covered
    why: str


def todo(
    table: Table,
    recipe: str,
    inputs: Mapping[str, Snapshot],
    *,
    time: str,
    times: Mapping[str, str],
    lookback: timedelta,
    wanted: Window,
    anew: bool = False,
) -> Todo:
    """Compare what a table covers with what is wanted.

    Args:
        table: the output's.
        recipe: by which rows are computed now.
        inputs: what they are computed from.
        time: the column that its rows are of a span by.
        times: each input's column of time, of those that have one.
        lookback: how far a row's own day looks back.
        wanted: the span that the table must cover.
        anew: whether all of it is computed, whatever is there.
    """
    read = {name: snapshot.version for name, snapshot in inputs.items()}
    ids = {name: snapshot.table.identity() for name, snapshot in inputs.items()}
    whole = Todo((wanted,), Covered(recipe=recipe, read=read, ids=ids, spans=(wanted,)), "")
    if anew:
        return replace(whole, why="the run is told to do it anew")
    known = _last(table, time)
    if known is None or known.ids != ids:
        return replace(whole, why="nothing is known of what is there")
    if known.recipe != recipe:
        return replace(whole, why="configuration, code or environment is another")
    # What was computed of days of which any source has not all rows any more is all that there will ever be.
    gone = [day for name, one in inputs.items() for day in _kept_no_longer(one, times.get(name), lookback)]
    stale, why = [], "what is new or has changed"
    for name, snapshot in inputs.items():
        found = changed(snapshot, known.read[name], times.get(name))
        if found is None:
            stale, why = [*known.spans, wanted], f"{name} has changed, and on which days cannot be told"
            break
        stale += [Window(start=one.start, end=_whole_days(one.end, lookback)) for one in found]
    valid = minus(known.spans, minus(stale, gone))
    spans = union(minus([wanted], valid), gap=lookback)  # near ones read the same rows
    if len(spans) > PARTS:
        spans = (spans[0].union(spans[-1]),)
    covered = Covered(recipe=recipe, read=read, ids=ids, spans=union([*valid, *spans, wanted]))
    return Todo(spans, covered, why)


def _whole_days(end: datetime, lookback: timedelta) -> datetime:
    """The end of the last day of which a row looks back at the day that ends there."""
    return later(end, -(-lookback // DAY) * DAY)


def _kept_no_longer(snapshot: Snapshot, column: str | None, lookback: timedelta) -> tuple[Window, ...]:
    """Days of which a source has not all rows any more."""
    cut = retention.cuts(snapshot.table, snapshot.version).get(column or "")
    return () if cut is None else (Window(start=FIRST, end=_whole_days(days(cut, cut).end, lookback)),)


def changed(snapshot: Snapshot, before: int, column: str | None) -> tuple[Window, ...] | None:
    """Days of which two versions of a table have not the same rows; None where that cannot be told.

    Args:
        snapshot: one version.
        before: the other; it may be the newer one.
        column: of time.
    """
    first, last = sorted((before, snapshot.version))
    if first == last:
        return ()
    table = snapshot.table
    try:
        bounds = [column] if column else []
        old, new = table.entries_of(first, *bounds), table.entries_of(last, *bounds)
        if _otherwise(snapshot, before):
            return None
    except DeltaError:  # the log of that version is no longer kept
        return None
    same = still_there(table, old, between(table, first, last))
    gone = [path for path in same if path not in new]
    rows = [old.get(path) for path in gone] + [new[path] for path in new if path not in same]
    spans = [_days(row, column) for row in rows if row is None or row["num_records"] != 0]
    if any(one is None for one in spans):
        return None
    return union(one for one in spans if one is not None)


def _otherwise(snapshot: Snapshot, before: int) -> bool:
    """Whether rows are others though no file says so: of wider columns, or, looked at backwards, come back."""
    table, have, had = snapshot.table, snapshot.schema, snapshot.table.snapshot(before).schema
    if any(name in have.names and have.field(name).type != had.field(name).type for name in had.names):
        return True
    return any("gone" in commit.told or "went" in commit.told for commit in table.commits(snapshot.version, before))


def within(snapshot: Snapshot, column: str | None, span: Window, lookback: timedelta) -> Snapshot:
    """The files that may have rows which a span's days and their lookback need."""
    if column is None:
        return snapshot
    low, high = earlier(midnight(span.start), lookback), days(span.end, span.end).end
    entries = snapshot.table.entries_of(snapshot.version, column)

    def needed(path: str) -> bool:
        found = _days(entries[path], column)
        return found is None or (found.start < high and low < found.end)

    return replace(snapshot, files=tuple(path for path in snapshot.files if needed(path)))


def _days(row: Mapping[str, Any] | None, column: str | None) -> Window | None:
    """Of a file's rows, by its bounds; None where some may be of any time."""
    if row is None or column is None or row.get(f"null_count.{column}") != 0:
        return None
    low, high = row.get(f"min.{column}"), row.get(f"max.{column}")
    if not isinstance(low, date) or not isinstance(high, date):
        return None
    return days(_moment(low), _moment(high))


def _moment(value: date) -> datetime:
    return value if isinstance(value, datetime) else datetime.combine(value, clock())


def _last(table: Table, time: str) -> Covered | None:
    """What the newest commit of rows told; None where it told nothing, as one of another transform."""
    if not table.exists():
        return None
    for limit in (RECENT, None):
        found, gone = _newest(table, limit)
        if found is not None:
            break
    known = _read(found) if found else None
    cuts = [{name: datetime.fromisoformat(at) for name, at in one.items()} for one in gone]
    if known is None or any(set(one) != {time} for one in cuts):
        return None
    old = [Window(start=FIRST, end=one[time]) for one in cuts]
    return known.model_copy(update={"spans": minus(known.spans, old)})


def _newest(table: Table, limit: int | None) -> tuple[Mapping[str, Any] | None, list[Mapping[str, str]]]:
    """What was told, empty where it was nothing; None where no commit of rows is among the newest.

    With it what retention has taken away since: column → up to where.
    """
    gone: list[Mapping[str, str]] = []
    for commit in table.history(limit=limit):
        if "retained" in commit.told:
            gone.append(commit.told["retained"])
        elif TOLD in commit.told:
            return commit.told[TOLD], gone
        elif commit.operation == "WRITE" and "files" not in commit.told:
            return {}, gone
    return None, gone


def _read(told: Any) -> Covered | None:
    try:
        return Covered.model_validate(told)
    except ValidationError:  # another version of Tradewind's
        return None


def texts(spans: Iterable[Window], limit: int = 5) -> str:
    """For people."""
    found = list(spans)
    told = ", ".join(f"{one.start:%Y-%m-%d %H:%M} to {one.end:%Y-%m-%d %H:%M}" for one in islice(found, limit))
    return told + (f" and {len(found) - limit} more" if len(found) > limit else "")
