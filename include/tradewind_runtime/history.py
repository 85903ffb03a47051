"""What a table's log tells of each commit: when, by whom, and how far it moved its sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MOVES = "positions"  # their name in what a commit is given


@dataclass(frozen=True)
class Advance:
    """A source's position in a table: what it must be before the commit, and what it is after."""

    before: int | None
    after: int


@dataclass(frozen=True)
class Commit:
    """One version of a table."""

    version: int
    time: datetime
    operation: str
    told: Mapping[str, Any]  # what it was given as metadata

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Commit:
        """From delta-rs's history."""
        return cls(
            version=int(entry["version"]),
            time=datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
            operation=entry["operation"],
            told=json.loads(entry.get("tradewind") or "{}"),
        )

    @property
    def vacuumed(self) -> bool:
        """Whether files went, of older versions."""
        return self.operation.startswith("VACUUM")

    @property
    def upkeep(self) -> bool:
        """Whether its rows are those of the version before."""
        return self.vacuumed or "compacted" in self.told

    @property
    def moves(self) -> dict[str, Advance]:
        """Positions that it moved; none where it is of a version of Tradewind that did not tell them."""
        return {id: Advance(*move) for id, move in self.told.get(MOVES, {}).items()}
