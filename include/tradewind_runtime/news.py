"""What a raw table has gained since a version of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deltalake.exceptions import DeltaError

from tradewind_runtime.compaction import followed, unchanged
from tradewind_runtime.snapshot import Snapshot


@dataclass(frozen=True)
class News:
    """Rows that came; `again`: all of them, since rows that were there are gone."""

    rows: Snapshot
    again: bool


def since(raw: Snapshot, before: int | None) -> News:
    """The rows of a version that an earlier one has not; all where there is no earlier one."""
    if before is None:
        return News(raw, again=False)
    try:
        old = set(raw.table.snapshot(before).files)
    except DeltaError:  # the log of that version is no longer kept: what is new in it cannot be told
        return News(raw, again=True)
    old = unchanged(raw.table, old, before, raw.version)
    if old - set(raw.files):  # a source that replaces its rows
        return News(raw, again=True)
    return News(replace(raw, files=tuple(name for name in raw.files if name not in old)), again=False)


def count(raw: Snapshot, before: int | None) -> int:
    """How many rows of a version an earlier one has not: told by the log, also where files hold rows of both."""
    if before is None:
        return raw.count()
    now = _rows(raw, raw.version)
    try:
        old = followed(raw.table, _rows(raw, before), before, raw.version)
    except DeltaError:
        old = {}
    # Where a source replaces its rows, all of them are new.
    known = 0 if old.keys() - now.keys() else sum(old.values())
    return sum(now.values()) - known


def _rows(raw: Snapshot, version: int) -> dict[str, int]:
    return {path: int(file["num_records"]) for path, file in raw.table.entries_of(version).items()}
