"""What of a source its table keeps no longer: told by the rows' own times, or by when they were committed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa

from tradewind_runtime import quarantine
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.reconcile import NONE, Positions
from tradewind_runtime.retention import Cuts, cuts, is_time, older

INGESTED = "_ingested"  # of a row; of a refused one without the dash
END = 2**62


@dataclass(frozen=True)
class Retained:
    """Up to where rows, and refused ones, have been deleted."""

    raw: Table
    refused: Table
    version: int | None = None  # of the raw table
    times: Cuts = field(default_factory=dict)  # by what a row itself says
    ingested: datetime | None = None
    messages: datetime | None = None  # of refused ones, by the time that a message has
    refused_until: datetime | None = None

    @classmethod
    def of(cls, lake: Lake, table: Table, version: int | None) -> Retained:
        """Of a raw table and its quarantine."""
        refused = quarantine.beside(lake, table.name)
        rows = {} if version is None else cuts(table, version)
        bad = cuts(refused)
        times = {column: cut for column, cut in rows.items() if column != INGESTED}
        return cls(table, refused, version, times, rows.get(INGESTED), bad.get("time"), bad.get("ingested"))

    def old(self, rows: pa.Table) -> pa.Table:
        """Those of a source's rows that retention would have taken away."""
        known = {name: cut for name, cut in self.times.items() if name in rows.column_names}
        known = {name: cut for name, cut in known.items() if is_time(rows.schema.field(name).type)}
        return rows.filter(older(known, rows.schema)) if known else rows.slice(0, 0)

    def spans(self, ids: Collection[str]) -> dict[str, tuple[int, int]]:
        """Of each partition's transaction the position below which what is missing counts as gone, twice.

        It is where the commit ends that straddles the moment. Within that nothing tells which rows went: they are not
        in the order of `_ingested` where Spark has read ranges at once, or `replay` has put one back. So a row that was
        lost there is not told: a false alarm would be worse.
        """
        return {id: (high, high) for id, (_, high) in self.commits(ids).items()}

    def commits(self, ids: Collection[str]) -> dict[str, tuple[int, int]]:
        """Of each transaction the position below which all rows are gone, and that from which on none is.

        What lies between was committed together: of what is read in order, as an object is, there those are gone that
        come before the first that is left.
        """
        rows = _committed(self.raw, ids, self.ingested, self.version)
        bad = _committed(self.refused, ids, self.refused_until, None)
        # A refused message that is gone cannot be told from a row that is lost: neither is anywhere.
        return {id: (max(rows[id][0], bad[id][1]), max(rows[id][1], bad[id][1])) for id in ids}


def _committed(
    table: Table, ids: Collection[str], cut: datetime | None, version: int | None
) -> Mapping[str, tuple[int, int]]:
    """Of each, where it was before a moment, and where the commit ended that came next."""
    found = dict.fromkeys(ids, (0, 0))
    if cut is None:
        return found
    for commit in reversed(table.history(version)):
        for id, move in commit.moves.items():
            if id not in found:
                continue
            low, high = found[id]
            if commit.time < cut:
                found[id] = (move.after, move.after)
            elif high == low:
                found[id] = (low, move.after)
    return found


def expired(lost: Positions, old: Positions, span: tuple[int, int], kept: Positions) -> Positions:
    """Those of the missing positions that retention accounts for.

    Args:
        lost: that the source gives and the lake has not.
        old: of rows that say so themselves.
        span: of `Retained.spans`.
        kept: of rows that are there.
    """
    low, high = span
    end = int(min(kept[(kept >= low) & (kept < high)], default=high))
    return np.union1d(np.intersect1d(lost, old), lost[lost < end]) if len(lost) else NONE


def messages_before(times: Collection[int | None], moment: datetime | None) -> np.ndarray:
    """Which of some messages have an earlier time, in milliseconds."""
    if moment is None:
        return np.zeros(len(times), dtype=bool)
    cut = moment.timestamp() * 1000
    return np.array([time is not None and time < cut for time in times], dtype=bool)
