"""Whether the lake holds what a source gave once, and nothing that it does not answer for.

Rows and refused rows are held against committed positions; where the source itself was asked (`reconcile`), against
what it still gives too. Unasked, an offset without a row may be lost, or may never have held a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import quarantine
from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.reconcile import NONE, Asked, Positions
from tradewind_runtime.reconcile.retained import expired
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.sources.partitions import partition_of, transaction

ROWS = 65_536  # of a batch
MEMORY = "1GB"  # of the database; beyond it there is the disk
SHOWN = 5  # lost or unknown positions that are named


class Verified(Frozen):
    """One Kafka partition or object of one table; the last five where the source was asked."""

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
    lost: int | None = None  # positions that the source gives and the lake has not
    expired: int | None = None  # the same, of rows that the table keeps no longer
    unknown: int | None = None  # positions that the source does not give; None where it need not keep all
    unread: int | None = None  # messages to come; of an object, 1 where this version of it is not in the table
    examples: tuple[int, ...] = ()  # the first that are lost or unknown


_HELD = """
create table held as
select _source as source, _position as position, true as kept from rows
union all select source, position, false from refused
"""
_COUNTS = """
select source, count(*) filter (kept), count(distinct position) filter (not kept),
       count(*) filter (kept) - count(distinct position) filter (kept),
       count(*), count(distinct position), min(position), max(position), max(position) filter (kept)
from held group by source order by source
"""
_PLACES = """
select source, position, bool_or(kept) as kept from held group by source, position order by source
"""
Ask = Callable[[Table, int | None], Iterable[Asked]]


def verify_table(lake: Lake, name: str, ask: Ask | None = None) -> list[Verified]:
    """A line for each partition or object of an ingested table (`<source>_raw`).

    `gaps` are offsets of Kafka, from the first row on, that hold neither a row nor a refused one: markers of
    transactions and compacted messages leave some, which are no loss. A row beyond the committed position, or
    twice, is an error; so is, where the source was asked, what it gives and the lake has not, and what the lake
    has and a source that keeps all does not give. What retention has taken away is `expired`, and no loss. An object
    has no committed position, and an earlier version of it may have been refused where the one in place is good: of
    objects, only rows can be there twice.

    Args:
        lake: that holds it.
        name: the table's.
        ask: the source, of a version of the table (None where there is none yet); by `reconcile.ask`.

    Raises:
        StepError: TW520 where there is no such table and the source is not asked.
    """
    table = lake.table(name)
    version, refused = _at_once(table, quarantine.beside(lake, name))
    answers = {one.source: one for one in ask(table, version)} if ask else {}
    if version is None and ask:
        return [_line(name, source, None, _Counts(), _against(one, _NOTHING)) for source, one in answers.items()]
    snapshot = table.snapshot(version)
    if "_source" not in snapshot.schema.names:
        return []
    with _database() as base:
        base.register("rows", snapshot.dataset())
        columns = ["source", "position", "stage"]
        base.register("refused", _refused(refused.to_arrow(columns)) if refused else _NONE)
        base.execute(_HELD)
        counts = {source: _Counts(*found) for source, *found in base.execute(_COUNTS).fetchall()}
        against = {source: _against(one, _NOTHING) for source, one in answers.items() if source not in counts}
        for source, held in _places(base) if answers else ():
            if source in answers:
                against[source] = _against(answers[source], held)
    known = sorted({*counts, *answers})
    committed = _committed(table, known, snapshot.version)
    return [
        _line(name, source, committed[source], counts.get(source, _Counts()), against.get(source, {}))
        for source in known
    ]


@contextmanager
def _database() -> Iterator[duckdb.DuckDBPyConnection]:
    """One in a file, for a table may have more rows than memory has room for their positions."""
    with TemporaryDirectory(prefix="tradewind-") as folder, duckdb.connect(f"{folder}/held.duckdb") as base:
        base.execute(f"set memory_limit = '{MEMORY}'")
        yield base


def _at_once(table: Table, beside: Table) -> tuple[int | None, Snapshot | None]:
    """Both as they were at a moment, before the source is asked: `replay` moves rows, and retention deletes them."""
    while True:
        version = table.version()
        refused = beside.snapshot() if beside.exists() else None
        if table.version() == version:
            return version, refused


_NONE = pa.table({"source": pa.array([], pa.string()), "position": pa.array([], pa.int64())})


class _Counts(NamedTuple):
    """Of one source, rows and refused rows, as `_COUNTS` gives them."""

    rows: int = 0
    quarantined: int = 0
    doubled_rows: int = 0
    all_told: int = 0
    places: int = 0  # different positions
    first: int | None = None
    last: int | None = None
    last_kept: int | None = None


class _Held(NamedTuple):
    """The positions of one source in the lake."""

    every: Positions
    kept: Positions  # of rows


_NOTHING = _Held(NONE, NONE)


def _refused(rows: pa.Table) -> pa.Table:
    """Rows that never came into the table: those that its checks refused are there."""
    return rows.filter(pc.field("stage") == "ingest").drop_columns(["stage"])


def _places(base: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, _Held]]:
    """The positions that each source has, each once: one source's at a time are in memory."""
    last, parts = "", list[pa.RecordBatch]()
    for batch in base.sql(_PLACES).to_arrow_reader(ROWS):
        ends = pc.run_end_encode(batch.column("source"), run_end_type=pa.int64()).run_ends.to_numpy()
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            part = batch.slice(start, end - start)
            source = part.column("source")[0].as_py()
            if parts and source != last:
                yield last, _held(parts)
                parts = []
            last = source
            parts.append(part)
    if parts:
        yield last, _held(parts)


def _held(parts: Sequence[pa.RecordBatch]) -> _Held:
    rows = pa.Table.from_batches(parts)
    positions = rows["position"].to_numpy()
    return _Held(positions, positions[rows["kept"].to_numpy()])


def _committed(table: Table, sources: Iterable[str], version: int) -> dict[str, int | None]:
    """The position of each that is a partition."""
    ids = {source: transaction(*partition_of(source)) for source in sources}
    now = table.positions(ids.values(), version)
    return {source: now[id] for source, id in ids.items()}


def _against(asked: Asked, held: _Held) -> dict[str, Any]:
    """What the lake has, held against what the source gives."""
    missing = np.setdiff1d(asked.given, held.every, assume_unique=True)
    gone = expired(missing, asked.old, asked.span, held.kept)
    lost = np.setdiff1d(missing, gone, assume_unique=True)
    theirs = held.every if asked.refusals else held.kept
    theirs = theirs[theirs >= asked.since]
    if asked.until is not None:
        theirs = theirs[theirs < asked.until]
    unknown = np.setdiff1d(theirs, asked.given, assume_unique=True) if asked.lasting else NONE
    examples = np.sort(np.concatenate([lost, unknown]))[:SHOWN].tolist()
    return {
        "lost": len(lost),
        "expired": len(gone),
        "unknown": len(unknown) if asked.lasting else None,
        "unread": asked.unread,
        "examples": tuple(examples),
    }


def _line(name: str, source: str, committed: int | None, counts: _Counts, against: dict[str, Any]) -> Verified:
    first = counts.first
    doubles = counts.doubled_rows if committed is None else counts.all_told - counts.places
    gaps = 0 if committed is None or first is None else max(committed - first - counts.places, 0)
    # A quarantine may be ahead, by what a killed step has not committed of its rows.
    beyond = committed is not None and counts.last_kept is not None and counts.last_kept >= committed
    amiss = against.get("lost") or against.get("unknown")
    return Verified(
        table=name,
        source=source,
        rows=counts.rows,
        quarantined=counts.quarantined,
        doubles=doubles,
        first=first,
        last=counts.last,
        committed=committed,
        gaps=gaps,
        ok=not (doubles or beyond or amiss),
        **against,
    )
