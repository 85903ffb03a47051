"""Messages that were refused, read again by the columns of today: those that are good now become rows, once.

Some are read at a time: they go into the table first and leave the quarantine then. A kill in between leaves them in
both, as `verify` tells; the next time they are found in the table and only leave the quarantine.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from tradewind_runtime import quarantine
from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import PositionsMovedError, Table
from tradewind_runtime.replacing import Without
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.kafka_rows import Messages, Rows
from tradewind_runtime.sources.partitions import partition_of
from tradewind_runtime.waiting import OF_ROW, PLACE, among, keys, waiting
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
    _require_known(tables, source.kafka.topic, mended)
    rows, why = 0, Counter[str]()
    for some in waiting(tables.raw, tables.refused, source.kafka.topic):
        made, reasons = _some(source, access, tables, some, mended)
        rows += made
        why += reasons
    return PutBack(rows=rows, left=why.total(), reasons=why)


def _require_known(tables: Tables, topic: str, mended: Mapping[Place, bytes | None]) -> None:
    """See that what somebody has mended is in quarantine, or was and is a row.

    Raises:
        StepError: TW531 where it is not.
    """
    if not mended:
        return
    sources, positions = zip(*mended, strict=True)
    asked = pa.table([pa.array(sources, pa.string()), pa.array(positions, pa.int64())], schema=PLACE)
    known = set(_places(among(tables.raw.snapshot(), asked))) if tables.raw.exists() else set()
    for some in waiting(tables.raw, tables.refused, topic, PLACE.names):
        known.update(_places(some.join(asked, PLACE.names, join_type="left semi")))
    if unknown := sorted(set(mended) - known):
        raise StepError(
            "TW531", f"{len(unknown)} mended messages are not in quarantine", retryable=False,
            got=", ".join(f"{origin} at {position}" for origin, position in unknown[:5]),
            fix="name source and position as `tradewind lake show` has them",
        )  # fmt: skip


def _some(
    source: Source, access: Access, tables: Tables, refused: pa.Table, mended: Mapping[Place, bytes | None]
) -> tuple[int, Counter[str]]:
    """How many of some refused messages have become rows, and why the others have not."""
    for _ in range(RIVALS):
        try:
            return _once(source, access, tables, refused, mended)
        except PositionsMovedError:
            continue
    raise StepError("TW521", f"table {tables.raw.name!r}: other writers were first {RIVALS} times", fix="try again")


def _once(
    source: Source, access: Access, tables: Tables, refused: pa.Table, mended: Mapping[Place, bytes | None]
) -> tuple[int, Counter[str]]:
    assert source.kafka is not None
    raw = tables.raw
    before = raw.position(POSITION)
    there = among(raw.snapshot(), refused)  # a replay was killed between its two commits, or a rival was first
    rows = Rows.of(source, access, raw.schema())
    made, why = rows.made(_messages(_without(refused, there), mended))
    if made.num_rows:
        whole = together([made], rows.schema, source.kafka.topic)
        schema = fit(raw, whole.schema)
        raw.commit(
            raw.stage(whole.to_batches(), schema, cut_by=source.time if source.time in schema.names else None),
            schema=schema,
            positions={POSITION: Advance(before, secrets.randbits(53))},
            metadata={"run": POSITION, "rows": made.num_rows},
        )
    gone = pa.concat_tables([there, made.select(OF_ROW).rename_columns(PLACE.names)])
    if gone.num_rows:
        metadata = {"run": POSITION, "rows": -gone.num_rows}
        tables.refused.commit([], schema=quarantine.SCHEMA, replace=Without(keys(gone)), metadata=metadata)
    return made.num_rows, Counter(why.values())


def _without(refused: pa.Table, there: pa.Table) -> pa.Table:
    known = set(_places(there))
    return refused.filter(pa.array([place not in known for place in _places(refused)], pa.bool_()))


def _places(rows: pa.Table) -> list[Place]:
    return list(zip(rows["source"].to_pylist(), rows["position"].to_pylist(), strict=True))


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
