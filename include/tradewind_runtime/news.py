"""What a raw table has gained since a version of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deltalake.exceptions import DeltaError

from tradewind_runtime.compaction import between, followed, still_there
from tradewind_runtime.replacing import TOLD, Replace, spans_of
from tradewind_runtime.snapshot import Snapshot

SPANS = 500  # replaced at once, at most: each is a condition on every row of the files that it may be in


@dataclass(frozen=True)
class News:
    """Rows that came; `again`: all of them, since rows that were there are gone, and which is not told."""

    rows: Snapshot
    again: bool
    spans: tuple[Replace, ...] = ()  # of which all rows came, in place of those that were there


def since(raw: Snapshot, before: int | None) -> News:
    """The rows of a version that an earlier one has not; all where there is no earlier one."""
    if before is None:
        return News(raw, again=False)
    try:
        old = set(raw.table.snapshot(before).files)
    except DeltaError:  # the log of that version is no longer kept: what is new in it cannot be told
        return News(raw, again=True)
    told = _told(raw, before)
    old = still_there(raw.table, old, told)
    spans = tuple(dict.fromkeys(span for one in told if "spans" in one for span in spans_of(one, raw.schema)))
    # A source that replaces all of its rows, or so many that to look for them is no less work.
    if old - set(raw.files) or len({span.column for span in spans}) > 1 or len(spans) > SPANS:
        return News(raw, again=True)
    return News(replace(raw, files=tuple(name for name in raw.files if name not in old)), again=False, spans=spans)


def count(raw: Snapshot, before: int | None) -> int:
    """How many rows of a version an earlier one has not: told by the log, also where files hold rows of both."""
    if before is None:
        return raw.count()
    now = _rows(raw, raw.version)
    try:
        old = followed(raw.table, _rows(raw, before), _told(raw, before))
    except DeltaError:
        old = {}
    # Where a source replaces its rows, all of them are new.
    known = 0 if old.keys() - now.keys() else sum(old.values())
    return sum(now.values()) - known


def _told(raw: Snapshot, before: int) -> list[Mapping[str, Any]]:
    """What commits told since a version; of one that replaced spans, what became of files by that."""
    return [told.get(TOLD, told) for told in between(raw.table, before, raw.version)]


def _rows(raw: Snapshot, version: int) -> dict[str, int]:
    return {path: int(file["num_records"]) for path, file in raw.table.entries_of(version).items()}
