"""Messages that another attempt has refused, and that are good when they are read again, leave the quarantine.

They leave once they are rows, not before: a rival that still refuses them may be first, and then they would be nowhere.
So the commit that makes rows of them moves a position of their table, and the one that takes them out of the quarantine
moves that of the quarantine to the same: where the two differ, somebody was killed in between, and the next attempt
takes out what is in both.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import quarantine
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Table
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.replacing import Without
from tradewind_runtime.sources.partitions import place_of
from tradewind_runtime.waiting import PLACE, among, keys, waiting

POSITION = "taken out"
#: Of a quarantine: what was refused so far, as a number.
REFUSED = "refused"
IDS = (POSITION, REFUSED)

Known = TypeVar("Known")


def partitions(by_id: Mapping[str, Known]) -> dict[str, Known]:
    """Those of some transactions that are a partition's, by what rows call it."""
    return {place: known for id, known in by_id.items() if (place := place_of(id)) is not None}


def refused_within(refused: Table, spans: Mapping[str, tuple[int, int]]) -> set[tuple[str, int]]:
    """Where a quarantine has messages that were refused when they came.

    Args:
        refused: the quarantine.
        spans: partition → from this offset to before that one.
    """
    if not spans:
        return set()
    where = (pc.field("stage") == "ingest") & pc.field("source").isin(sorted(spans))
    where &= pc.field("position") >= min(start for start, _ in spans.values())
    where &= pc.field("position") < max(upto for _, upto in spans.values())
    found = refused.snapshot().to_arrow(PLACE.names, where)
    places = zip(found["source"].to_pylist(), found["position"].to_pylist(), strict=True)
    return {(source, at) for source, at in places if spans[source][0] <= at < spans[source][1]}


def told(
    now: Mapping[str, int | None], moves: Mapping[str, Advance], new: Sequence[Bad], *, late: bool
) -> dict[str, Advance]:
    """What moves in a quarantine besides a chunk's positions.

    Two attempts that come equally far move it alike only where they refuse the same: else the second would take the
    commit of the first for its own.

    Args:
        now: its positions.
        moves: those of the chunk.
        new: what is refused.
        late: whether another attempt has been there before: it may be about to make rows of these.
    """
    refused = sorted((row.source, row.position, row.content or b"") for row in new)
    text = repr((now[REFUSED], sorted((id, move.after) for id, move in moves.items()), refused))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
    return {id: Advance(now[id], number) for id in (IDS if late and new else (REFUSED,))}


def owed(raw: Table) -> dict[str, Advance]:
    """What moves with rows that may still be in quarantine."""
    return {POSITION: Advance(raw.position(POSITION), secrets.randbits(53))}


def take_out(raw: Table, refused: Table, topic: str) -> None:
    """Take out of the quarantine what are rows by now, where that is owed.

    Raises:
        PositionsMovedError: where somebody else has done so.
    """
    wanted, now = raw.position(POSITION) or 0, refused.position(POSITION)
    if wanted == (now or 0):
        return
    rows = raw.snapshot()
    found = [among(rows, some) for some in waiting(raw, refused, topic, PLACE.names)]
    gone = pa.concat_tables([PLACE.empty_table(), *found])
    refused.commit(
        [],
        schema=quarantine.SCHEMA,
        positions={POSITION: Advance(now, wanted)},
        replace=Without(keys(gone)) if gone.num_rows else None,
        metadata={"run": POSITION, "rows": -gone.num_rows},
    )
