"""Refused messages that wait in quarantine, and which of them are rows: looked for a few at a time.

Neither table comes into memory: of the rows not even their places, but for those that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import quarantine
from tradewind_runtime.lake import Table
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.sources.partitions import partition_of, transaction
from tradewind_runtime.staging import ROW_GROUP, grouped

#: Where a message was, as a quarantine has it.
PLACE = pa.schema([quarantine.SCHEMA.field(name) for name in ("source", "position")])
OF_ROW = ["_source", "_position"]  # the same of a row
READ, BYTES = 4_096, 32 * 1024 * 1024  # refused messages that are read at once, and what is held of them


def waiting(raw: Table, refused: Table, topic: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Messages of a topic that were refused when they came, below the positions that the rows have reached.

    Args:
        raw: the rows.
        refused: their quarantine.
        topic: which.
        columns: of the quarantine, place and more; all by default.
    """
    if not refused.exists() or not raw.exists():
        return
    # A quarantine of an older version has fewer columns.
    snapshot = replace(refused.snapshot(), schema=quarantine.SCHEMA)
    ends = _ends(raw, snapshot, topic)
    names, reached = pa.array(ends, pa.string()), pa.array(ends.values(), pa.int64())

    def below() -> Iterator[pa.Table]:
        where = (pc.field("stage") == "ingest") & pc.field("source").isin(names)
        for batch in snapshot.dataset().to_batches(
            columns=list(columns) if columns else None, filter=where, batch_size=READ,
            batch_readahead=1, fragment_readahead=1,
        ):  # fmt: skip
            mine = reached.take(pc.index_in(batch.column("source"), names))
            yield pa.Table.from_batches([batch.filter(pc.less(batch.column("position"), mine))])

    for group in grouped(below(), ROW_GROUP, BYTES):
        if (found := pa.concat_tables(group)).num_rows:
            yield found


def _ends(raw: Table, refused: Snapshot, topic: str) -> dict[str, int]:
    """Of each partition that has refused messages.

    A quarantine is one chunk ahead after a kill: what lies there is read once more by the source itself.
    """
    names: set[str] = set()
    for batch in refused.dataset().to_batches(columns=["source"], filter=pc.field("stage") == "ingest"):
        names.update(pc.unique(batch.column("source")).to_pylist())
    ids = {name: transaction(*partition_of(name)) for name in names if partition_of(name)[0] == topic}
    now = raw.positions(ids.values())
    return {name: now[id] or 0 for name, id in ids.items()}


def among(rows: Snapshot, places: pa.Table) -> pa.Table:
    """Those of some places at which there are rows."""
    if not places.num_rows:
        return PLACE.empty_table()
    bounds = pc.min_max(places["position"])
    where = pc.field("_source").isin(pc.unique(places["source"]))
    where &= (pc.field("_position") >= bounds["min"]) & (pc.field("_position") <= bounds["max"])
    where &= pc.field("_position").isin(pc.unique(places["position"]))
    found = [PLACE.empty_table()]
    for batch in rows.dataset().to_batches(columns=OF_ROW, filter=where):
        if batch.num_rows:  # of all those partitions, at any of those positions
            some = pa.Table.from_batches([batch]).rename_columns(PLACE.names)
            found.append(some.join(places.select(PLACE.names), PLACE.names, join_type="left semi"))
    return pa.concat_tables(found)


def keys(places: pa.Table) -> pa.Table:
    """What refused messages have that were at these places."""
    stage = pa.repeat(pa.scalar("ingest", pa.string()), places.num_rows)
    return places.select(PLACE.names).append_column(quarantine.SCHEMA.field("stage"), stage)
