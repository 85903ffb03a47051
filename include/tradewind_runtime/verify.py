"""Whether all that a source has given is in the lake, once: rows and refused rows against committed positions."""

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
with good as (select _source as source, _position as position from rows),
     bad as (select distinct source, position from refused),
     every_one as (select *, 1 as good, 0 as bad from good union all select *, 0, 1 from bad)
select source, sum(good)::bigint, sum(bad)::bigint, count(*)::bigint - count(distinct position)::bigint,
       min(position), max(position)
from every_one group by source order by source
"""


def verify_table(lake: Lake, name: str) -> list[Verified]:
    """A line for each partition or object of an ingested table (`<source>_raw`).

    `gaps` are positions below the committed one that hold no row: markers of transactions and compacted
    messages of Kafka, which are no loss; a row beyond the committed position, or twice, is an error.
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
    rows, quarantined, doubles, first, last = counts
    topic, _, partition = source.rpartition("-")
    committed = lake.table(name).position(f"kafka:{topic}:{partition}")
    gaps = committed - first - rows - quarantined + doubles if committed is not None else 0
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
        gaps=max(gaps, 0),
        ok=doubles == 0 and not beyond and gaps >= 0,
    )
