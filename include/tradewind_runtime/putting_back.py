"""Messages that were refused, read again by the columns of today: those that are good now become rows, once.

A row goes into the table first and leaves the quarantine then. A kill in between leaves it in both, as `verify` tells;
the next time it is found in the table and only leaves the quarantine.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import quarantine
from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import PositionsMovedError, Table
from tradewind_runtime.replacing import Without
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.kafka_rows import Messages, Rows
from tradewind_runtime.sources.partitions import partition_of, transaction
from tradewind_runtime.widening import fit, together

POSITION = "replay"  # another number after each replay of a table, so that of two at once one begins anew
RIVALS = 20
Place = tuple[str, int]  # topic-partition, offset


class PutBack(Frozen):
    """What became of the refused messages of a source."""

    rows: int
    left: int
    reasons: dict[str, int]  # why the others are still refused, and how many


@dataclass(frozen=True)
class Tables:
    """Of one source."""

    raw: Table
    refused: Table


def put_back(source: Source, access: Access, tables: Tables, mended: Mapping[Place, bytes | None]) -> PutBack:
    """Read what is in quarantine again.

    Args:
        source: as its YAML has it now.
        access: its registry and schemas; no broker is asked.
        tables: its rows and its quarantine.
        mended: other contents of some messages.

    Raises:
        StepError: TW531 where the source is no topic or `mended` names what is not in quarantine; TW519, TW521, TW529.
    """
    if source.kafka is None:
        raise StepError(
            "TW531", "only messages of Kafka are read again", retryable=False, got=source.kind,
            fix="write the object again, mended: its rows then take the place of the older version's",
        )  # fmt: skip
    for _ in range(RIVALS):
        try:
            return _once(source, access, tables, mended)
        except PositionsMovedError:
            continue
    raise StepError("TW521", f"table {tables.raw.name!r}: other writers were first {RIVALS} times", fix="try again")


def _once(source: Source, access: Access, tables: Tables, mended: Mapping[Place, bytes | None]) -> PutBack:
    assert source.kafka is not None
    raw, topic = tables.raw, source.kafka.topic
    before = raw.position(POSITION)
    waiting = _waiting(tables, topic)
    if unknown := sorted(set(mended) - set(_places(waiting)) - _among(raw, set(mended))):
        raise StepError(
            "TW531", f"{len(unknown)} mended messages are not in quarantine", retryable=False,
            got=", ".join(f"{origin} at {position}" for origin, position in unknown[:5]),
            fix="name source and position as `tradewind lake show` has them",
        )  # fmt: skip
    there = _among(raw, set(_places(waiting)))  # a replay was killed between its two commits
    messages = _messages(waiting.filter(pa.array([one not in there for one in _places(waiting)], pa.bool_())), mended)
    rows = Rows.of(source, access, raw.schema())
    made, why = rows.made(messages)
    if made.num_rows:
        whole = together([made], rows.schema, topic)
        schema = fit(raw, whole.schema)
        raw.commit(
            raw.stage(whole.to_batches(), schema, cut_by=source.time if source.time in schema.names else None),
            schema=schema,
            positions={POSITION: Advance(before, secrets.randbits(53))},
            metadata={"run": POSITION, "rows": made.num_rows},
        )
    gone = there | set(_places(made, "_source", "_position"))
    if gone:
        metadata = {"run": POSITION, "rows": -len(gone)}
        tables.refused.commit([], schema=quarantine.SCHEMA, replace=Without(_keys(gone)), metadata=metadata)
    return PutBack(rows=made.num_rows, left=len(why), reasons=Counter(why.values()))


def _waiting(tables: Tables, topic: str) -> pa.Table:
    """Messages of the topic that were refused when they came, below the positions that the rows have reached."""
    if not tables.refused.exists() or not tables.raw.exists():
        return quarantine.SCHEMA.empty_table()
    # A quarantine of an older version has fewer columns.
    snapshot = replace(tables.refused.snapshot(), schema=quarantine.SCHEMA)
    found = snapshot.to_arrow(where=pc.field("stage") == "ingest")
    ends = {}
    for origin in pc.unique(found["source"]).to_pylist():
        if partition_of(origin)[0] == topic:
            # A quarantine is one chunk ahead after a kill: what lies there is read once more by the source itself.
            ends[origin] = tables.raw.position(transaction(*partition_of(origin))) or 0
    kept = [position < ends.get(origin, 0) for origin, position in _places(found)]
    return found.filter(pa.array(kept, pa.bool_()))


def _places(rows: pa.Table, source: str = "source", position: str = "position") -> list[Place]:
    return list(zip(rows[source].to_pylist(), rows[position].to_pylist(), strict=True))


def _among(raw: Table, places: set[Place]) -> set[Place]:
    """Those of them that are rows."""
    if not places or not raw.exists():
        return set()
    positions = [position for _, position in places]
    where = pc.field("_source").isin(sorted({origin for origin, _ in places}))
    where &= (pc.field("_position") >= min(positions)) & (pc.field("_position") <= max(positions))
    found = raw.snapshot().to_arrow(["_source", "_position"], where)
    return places & set(_places(found, "_source", "_position"))


def _messages(waiting: pa.Table, mended: Mapping[Place, bytes | None]) -> Messages:
    places = _places(waiting)
    contents = waiting["content"].to_pylist()
    return Messages(
        values=[mended.get(place, content) for place, content in zip(places, contents, strict=True)],
        partitions=[partition_of(origin)[1] for origin, _ in places],
        offsets=[position for _, position in places],
        times=waiting["time"].cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.int64()).to_pylist(),
        keys=waiting["key"].to_pylist(),
        headers=waiting["headers"].to_pylist(),
    )


def _keys(places: set[Place]) -> pa.Table:
    """As the quarantine has them."""
    rows = [{"source": origin, "position": position, "stage": "ingest"} for origin, position in places]
    return pa.Table.from_pylist(rows, pa.schema([quarantine.SCHEMA.field(name) for name in rows[0]]))
