"""Messages that a killed attempt has refused, and that are good when they are read again, leave the quarantine.

They leave once they are rows, not before: a rival that still refuses them may be first, and then they would be nowhere.
So the commit that makes rows of them moves a position of their table, and the one that takes them out of the quarantine
moves that of the quarantine to the same: where the two differ, somebody was killed in between, and the next attempt
takes out what is in both.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import quarantine
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Table
from tradewind_runtime.replacing import Without
from tradewind_runtime.sources.partitions import place_of
from tradewind_runtime.waiting import PLACE, among, keys, waiting

POSITION = "taken out"


def refused_within(refused: Table, spans: Mapping[str, tuple[int, int]]) -> set[tuple[str, int]]:
    """Where a quarantine has messages that were refused when they came.

    Args:
        refused: the quarantine.
        spans: transaction id → from this position to before that one; those that are no partitions have no messages.
    """
    within = {place: span for id, span in spans.items() if (place := place_of(id)) is not None}
    if not within:
        return set()
    where = (pc.field("stage") == "ingest") & pc.field("source").isin(sorted(within))
    where &= pc.field("position") >= min(start for start, _ in within.values())
    where &= pc.field("position") < max(upto for _, upto in within.values())
    found = refused.snapshot().to_arrow(PLACE.names, where)
    places = zip(found["source"].to_pylist(), found["position"].to_pylist(), strict=True)
    return {(source, at) for source, at in places if within[source][0] <= at < within[source][1]}


def owed(raw: Table) -> dict[str, Advance]:
    """What moves with rows that are still in quarantine."""
    return {POSITION: Advance(raw.position(POSITION), secrets.randbits(53))}


def take_out(raw: Table, refused: Table, topic: str) -> None:
    """Take out of the quarantine what are rows by now, where that is owed.

    Raises:
        PositionsMovedError: where somebody else has done so.
    """
    wanted = raw.position(POSITION)
    if wanted is None or wanted == (now := refused.position(POSITION)):
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
