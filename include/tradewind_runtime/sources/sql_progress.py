"""How far a database's table or query was read, and how far it is to be: positions of the table in the lake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import SqlSource
from tradewind_runtime.lake import Table
from tradewind_runtime.sources.cursors import NEVER, number_of

#: What a run is pinned to besides its cursor's value; no column is called so. When, where rows are read again; when, of
#: what is not read whole; what tells its table and cursor from others.
ASKED, PINNED, SOURCE = "asked at", "pinned at", "read from"
#: The table's positions for the last two; no cursor's is called so.
LATEST, OF = "sql::pinned", "sql::of"


@dataclass(frozen=True)
class Progress:
    """How far a source was read, and how far it is to be."""

    name: str  # of the cursor
    end: int
    asked: int | None  # when, where rows are read again
    pinned: int | None
    source: int  # of this table and cursor; a query's text may change, for its rows are of the same kind
    now: Mapping[str, int | None]  # what the table has

    @classmethod
    def of(cls, sql: SqlSource, end: Mapping[str, int], table: Table) -> Progress:
        """What a run that was pinned to an end has before it.

        Raises:
            StepError: TW527 where it was pinned to another table, or by another cursor.
        """
        name, source = sql.cursor or "all", number_of(sql.table, sql.cursor)
        if name not in end or end.get(SOURCE, source) != source:
            raise StepError(
                "TW527", "the run was pinned before the source had this table or cursor", retryable=False,
                expected=f"{sql.table or 'query'}, {name}", fix="start a new run",
            )  # fmt: skip
        id = f"sql:{name}"
        now = table.positions([id, f"{id}:asked", f"{id}:days", "sql:all", OF, LATEST])
        return cls(name, end[name], end.get(ASKED), end[name] if name == "all" else end.get(PINNED), source, now)

    @property
    def id(self) -> str:
        """The position's."""
        return f"sql:{self.name}"

    @property
    def anew(self) -> bool:
        """Whether what is there was read of another table, or by another cursor: then this is as a first run."""
        if (of := self.now[OF]) is None:  # earlier versions did not tell
            return self.id != "sql:all" and self.now["sql:all"] is not None
        return of != self.source

    def _so_far(self, id: str) -> int | None:
        return None if self.anew else self.now[id]

    @property
    def before(self) -> int | None:
        """Up to where the last run has read."""
        return self._so_far(self.id)

    @property
    def last(self) -> int:
        """Up to where this run reads. Where rows are read again, the last may have gone by now."""
        return self.end if self.asked is None or self.before is None else max(self.end, self.before)

    @property
    def mark(self) -> tuple[str, int | None, int]:
        """The position that tells one reading from another, before and after."""
        if self.asked is None:
            return self.id, self.before, self.last
        return f"{self.id}:asked", self._so_far(f"{self.id}:asked"), self.asked

    @property
    def reached(self) -> bool:
        """Whether there is nothing to do: a run that was pinned later, be it of another table, has read this too."""
        latest, (_, before, after) = self.now[LATEST], self.mark
        if self.pinned is not None and latest is not None and latest >= self.pinned:
            return True
        return before is not None and before >= after

    def moves(self, last: int, over: int | None) -> dict[str, int]:
        """Positions, once rows are in the table.

        Args:
            last: up to where they were read.
            over: up to which day, where days are read once they are over.
        """
        mark, _, after = self.mark
        pinned = {} if self.pinned is None else {LATEST: self.pinned}
        return {self.id: last, mark: after, OF: self.source, **pinned, **self._days(over)}

    def _days(self, over: int | None) -> dict[str, int]:
        id = f"{self.id}:days"
        if over is None:
            return {} if self.now[id] is None else {id: NEVER}
        return {id: over}

    def keeps(self, whole: bool) -> None:
        """See that days are read as they were before: in the table's last one, or beyond it, rows would differ.

        Raises:
            StepError: TW527 where they were read otherwise.
        """
        before = self._so_far(f"{self.id}:days") not in (None, NEVER)
        if self.asked is None or self._so_far(f"{self.id}:asked") is None or before == whole:
            return
        raise StepError(
            "TW527", f"the cursor {self.name!r} has {'left' if whole else 'come to'} columns, by which days are read",
            retryable=False, got="not in columns" if whole else "in columns",
            expected="not in columns" if before else "in columns",
            fix=f"{'take it out' if before else 'put it back'}, or read the table as a source of another name",
        )  # fmt: skip
