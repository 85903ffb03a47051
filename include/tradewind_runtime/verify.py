"""Whether the lake holds what a source gave once, and nothing that it does not answer for.

Rows and refused rows are held against committed positions. What a source has given is not asked of it: an offset
without a row may be lost, or may never have held a message, so it is counted and judged by who knows.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.lake import Lake


class Verified(Frozen):
    """One Kafka partition or object of one table."""

    table: str
    source: str
    rows: int
    quarantined: int
    doubles: int
    first: int | None
    last: int | None
    committed: int | None
    gaps: int
    ok: bool


_COUNTS = """
with seen as (select _source as source, _position as position, true as kept from rows
              union all select source, position, false from refused)
select source, count(*) filter (kept), count(distinct position) filter (not kept),
       count(*) filter (kept) - count(distinct position) filter (kept),
       count(*), count(distinct position), min(position), max(position)
from seen group by source order by source
"""


def verify_table(lake: Lake, name: str) -> list[Verified]:
    """A line for each partition or object of an ingested table (`<source>_raw`).

    `gaps` are offsets of Kafka, from the first row on, that hold neither a row nor a refused one: markers of
    transactions and compacted messages leave some, which are no loss. A row beyond the committed position, or
    twice, is an error. An object has no committed position, and an earlier version of it may have been refused
    where the one in place is good: of objects, only rows can be there twice.
    """
    table = lake.table(name)
    if "_source" not in table.snapshot().schema.names:
        return []
    refused = lake.table(f"{name.removesuffix('_raw')}_quarantine")
    rows = table.snapshot().to_arrow(["_source", "_position"])
    bad = _refused(refused.snapshot().to_arrow(["source", "position", "stage"])) if refused.exists() else _NONE
    with duckdb.connect() as base:
        base.register("rows", rows)
        base.register("refused", bad)
        found = base.execute(_COUNTS).fetchall()
    return [_line(lake, name, source, *counts) for source, *counts in found]


_NONE = pa.table({"source": pa.array([], pa.string()), "position": pa.array([], pa.int64())})


def _refused(rows: pa.Table) -> pa.Table:
    """Rows that never came into the table: those that its checks refused are there."""
    return rows.filter(pc.field("stage") == "ingest").drop_columns(["stage"])


def _line(lake: Lake, name: str, source: str, *counts: int) -> Verified:
    rows, quarantined, doubled_rows, all_told, places, first, last = counts
    topic, _, partition = source.rpartition("-")
    committed = lake.table(name).position(f"kafka:{topic}:{partition}")
    doubles = doubled_rows if committed is None else all_told - places
    gaps = 0 if committed is None else max(committed - first - places, 0)
    beyond = committed is not None and last >= committed
    return Verified(
        table=name,
        source=source,
        rows=rows,
        quarantined=quarantined,
        doubles=doubles,
        first=first,
        last=last,
        committed=committed,
        gaps=gaps,
        ok=doubles == 0 and not beyond,
    )
