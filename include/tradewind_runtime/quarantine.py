"""Rows that were refused: where they came from, why, and what they were, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from tradewind_runtime.lake import Lake, Table
    from tradewind_runtime.snapshot import Snapshot

#: Every quarantine table, whichever step refused the row.
SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("position", pa.int64()),
        ("reason", pa.string()),
        ("content", pa.binary()),
        ("ingested", pa.timestamp("us", "UTC")),
        ("stage", pa.string()),
        # Of a message of Kafka; the last two only where the YAML keeps them.
        ("time", pa.timestamp("us", "UTC")),
        ("key", pa.binary()),
        ("headers", pa.string()),
    ]
)


@dataclass(frozen=True)
class Bad:
    """A row that cannot be taken in."""

    source: str
    position: int
    reason: str
    content: bytes | None
    id: str = ""  # the transaction id that its position belongs to
    at: int = 0  # what that id's position was when this row was still to come
    time: int | None = None  # of a message, in milliseconds
    key: bytes | None = None
    headers: str | None = None


def held(known: Snapshot, rows: Collection[Bad], stage: str) -> set[tuple[str, int, bytes | None]]:
    """Which of these refused rows a quarantine has of a stage: their source, position and content.

    What lies beyond their positions is not read, for a source may have very many.
    """
    wanted = {(row.source, row.position, row.content) for row in rows}
    if not wanted:
        return wanted
    at = pc.field("position")
    where = (pc.field("stage") == stage) & pc.field("source").isin(sorted({row.source for row in rows}))
    where &= (at >= min(row.position for row in rows)) & (at <= max(row.position for row in rows))
    found = known.dataset().to_batches(columns=["source", "position", "content"], filter=where)
    return {
        row for batch in found for row in zip(*map(pa.Array.to_pylist, batch.columns), strict=True) if row in wanted
    }


def beside(lake: Lake, raw: str) -> Table:
    """The quarantine of a raw table, by the name of that."""
    return lake.table(f"{raw.removesuffix('_raw')}_quarantine")


def told(lake: Lake, raw: str, origin: str) -> frozenset[bytes]:
    """Marks of the refused rows that a raw table's quarantine has of `origin@…`."""
    refused = beside(lake, raw)
    if not refused.exists():
        return frozenset()
    found = refused.snapshot().to_arrow(["content"], pc.starts_with(pc.field("source"), f"{origin}@"))
    return frozenset(map(_mark, found["content"].to_pylist()))


def leave_out(bad: list[Bad], told: Container[bytes]) -> None:
    """A refused row comes again as long as a source gives it: it is told, and judged, once."""
    bad[:] = [row for row in bad if _mark(row.content) not in told]


def _mark(content: bytes | None) -> bytes:
    return hashlib.sha256(content or b"").digest()


LATEST = 253_402_300_799_999  # milliseconds, at the end of the year 9999: what is later was meant as another unit


def to_arrow(rows: Iterable[Bad], stage: str) -> pa.Table:
    """Refused rows as the quarantine table holds them; `stage` is `ingest` or `check`."""
    found = list(rows)
    now = datetime.now(UTC)
    columns = [
        [row.source for row in found],
        [row.position for row in found],
        [row.reason for row in found],
        [row.content for row in found],
        [now] * len(found),
        [stage] * len(found),
        [None if row.time is None or not 0 <= row.time <= LATEST else row.time * 1000 for row in found],
        [row.key for row in found],
        [row.headers for row in found],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
