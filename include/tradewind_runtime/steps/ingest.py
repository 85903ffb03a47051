"""`ingest`: what a source has gained up to its pinned end goes to `<name>_raw`, each row exactly once.

Chunk by chunk: rows are staged, those that cannot be read go to `<name>_quarantine`, then the rows are
committed; both commits carry the source's positions. A kill between the two leaves the quarantine ahead,
and the next attempt, which starts from the positions of the rows, leaves out what is there already, and takes out
the messages that it finds good (`taking_out`).
`max_bad` is judged over what the run has read, before each chunk is committed: where there is too much,
that chunk is neither in the rows nor in the quarantine, and is read again once the cause is mended. What
earlier attempts have committed counts too, so that a kill changes no verdict.
An object that is broken holds no other back, and the step fails at the end. Where it breaks in its midst its chunk is
read again without it, and each object from then on is read through first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from tradewind_runtime import quarantine, sources, taking_out
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.pins import IngestConfig
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.garbage import seldom_collected
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import PositionsMovedError, Table
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.sources.columns import PROVENANCE, RESERVED, declared
from tradewind_runtime.sources.writing import Written, write
from tradewind_runtime.widening import fit, fitting

TOLD = 200  # positions in a result's facts: a run may move hundreds of thousands
#: Newest commits among which earlier attempts' are looked for: where the fewer have any, among the more.
RECENT = 50, 500
RIVALS = 20  # how often another writer may be first before this one gives up


@dataclass
class _Tally:
    """What this attempt has read and committed, and what the run's earlier ones had before."""

    rows_before: int = 0
    bad_before: int = 0
    rows: int = 0
    late: int = 0
    bad: int = 0
    broken: dict[str, StepError] = field(default_factory=dict)
    positions: dict[str, tuple[int | None, int]] = field(default_factory=dict)

    @classmethod
    def begun(cls, run_id: str, table: Table) -> _Tally:
        """Of a run whose earlier attempts have left their commits, if any; others' may stand between."""
        before = list[Mapping[str, Any]]()
        for limit in RECENT if table.exists() else ():
            found = table.history(limit=limit)
            before = [one.told for one in found if one.told.get("run") == run_id and "bad" in one.told]
            if not before or len(found) < limit:
                break
        return cls(sum(told["rows"] for told in before), sum(told["bad"] for told in before))

    def committed(self, chunk: sources.Chunk, written: Written) -> None:
        self.rows += written.rows
        self.late += written.late
        self.bad += len(chunk.bad)
        for id, move in chunk.positions.items():
            self.positions[id] = (self.positions.get(id, (move.before, 0))[0], move.after)

    def facts(self) -> dict[str, Any]:
        """How far it came; of very many positions the first ones, since the table's history has them all."""
        told = islice(self.positions.items(), TOLD)
        moves = {id: {"start": start, "end": end} for id, (start, end) in told}
        return {"positions": moves, "positions_moved": len(self.positions)}


def run(context: StepContext) -> StepOutcome:
    """Read a source up to its pinned end.

    Raises:
        StepError: TW522 where there has never been a row, TW523 where too many cannot be read, TW527 where objects are
            broken, once all others are taken in; others of the source.
    """
    config, started = context.request.configured(IngestConfig), time.monotonic()
    table = context.table(f"{config.name}_raw")
    tally = _Tally.begun(context.request.run_id, table)
    for _ in range(RIVALS):
        try:
            with seldom_collected():
                _all_but_broken(context, config, table, tally)
            break
        except PositionsMovedError:
            context.log.info("%s: another writer was first; going on from where it is", config.name)
    else:
        raise StepError("TW521", f"table {table.name!r}: other writers were first {RIVALS} times", fix="try again")
    if tally.broken:
        raise _broken(tally.broken)
    version = context.there(table, table.version_of_rows())
    version = table.version() if version is None else version
    if version is None or set(table.snapshot(version).schema.names) <= RESERVED:
        raise StepError(
            "TW522",
            f"the source {config.name!r} has no rows and its columns are not known",
            got="nothing to read",
            fix="name its columns in the YAML, or see whether anything is there",
            path=f"sources.{config.name}",
        )
    seconds = time.monotonic() - started
    context.log.info("%s: %d rows, %d quarantined, %.1f s", config.name, tally.rows, tally.bad, seconds)
    metrics: dict[str, float] = {"rows": tally.rows, "bad": tally.bad, "seconds": round(seconds, 3)}
    if config.source.time and context.request.window:
        metrics["late"] = tally.late
    return StepOutcome(
        outputs={"rows": DatasetRef(table=table.name, version=version)},
        metrics=metrics,
        facts=tally.facts(),
    )


def access(context: StepContext, use: str = "source") -> sources.Access:
    """What a source may use, by the use under which the request names its connection."""
    project = context.setting("project")
    return sources.Access(
        lake=context.lake,
        connection=context.connection(use) if use in context.request.connections else None,
        registry=context.connection("schemas") if "schemas" in context.request.connections else None,
        schemas=context.code / "include/schemas" if context.code else None,
        project=Path(project) if project else None,
        window=context.request.window,
        scratch=context.scratch,
        pinned=context.request.pins.get("created"),
        chunk_rows=int(context.setting("chunk_rows", sources.Access.chunk_rows)),
    )


def _all_but_broken(context: StepContext, config: IngestConfig, table: Table, tally: _Tally) -> None:
    while True:
        try:
            return _ingest(context, config, table, tally)
        except sources.BrokenObjectsError as found:
            for error in found.errors.values():
                context.log.warning("%s: %s", config.name, error)
            tally.broken |= found.errors


def _broken(errors: Mapping[str, StepError]) -> StepError:
    """For people: the first of them, and which others there are."""
    first, *others = errors.values()
    [problem] = first.problems
    if not others:
        return first
    names = ", ".join([*errors][1:6]) + (" and more" if len(others) > 5 else "")
    told = problem.model_dump(include={"got", "expected", "fix"}, exclude_none=True)
    told["got"] = f"{problem.got}; also {names}" if problem.got is not None else f"also {names}"
    return StepError(problem.code, problem.message, retryable=False, **told)


def _ingest(context: StepContext, config: IngestConfig, table: Table, tally: _Tally) -> None:
    source, end = config.source, context.request.pins.get("end")
    refused = context.table(f"{config.name}_quarantine")
    if (fixed := declared(source)) is not None and not table.exists():
        table.create(pa.schema([*fixed, *PROVENANCE]))
    if not end:  # a run that consumes nothing, such as a backfill
        return
    topic = source.kafka.topic if source.kafka else None
    if topic:
        taking_out.take_out(table, refused, topic)
    allowed = replace(access(context), left_out=frozenset(tally.broken))
    for chunk in _chunks(context, source, allowed, end, table):
        schema = chunk.schema if chunk.written else fitting(table, chunk.schema)
        written = chunk.written or write(table, chunk.rows, schema, source, context.request.window)
        _judge(config, tally, written.rows, chunk.bad)
        # The columns come before what is refused by their types: a chunk that is read again is read by the same ones.
        if fit(table, chunk.schema) != schema:
            raise PositionsMovedError(table.name)  # another writer has made one wider: the files are of the old types
        owed = _quarantine(context, refused, table, chunk)
        table.commit(
            written.files,
            schema=schema,
            positions={**chunk.positions, **(taking_out.owed(table) if owed else {})},
            replace=chunk.replace,
            metadata={"run": context.request.run_id, "rows": written.rows, "bad": len(chunk.bad)},
        )
        tally.committed(chunk, written)
        if topic and owed:
            taking_out.take_out(table, refused, topic)
        if tally.rows > written.rows:
            context.log.info("%s: %d rows so far", config.name, tally.rows)


def _chunks(
    context: StepContext, source: Source, allowed: sources.Access, end: Mapping[str, Any], table: Table
) -> Iterator[sources.Chunk]:
    if context.request.engine == "spark":
        from tradewind_runtime.engines.spark import reading  # it imports Spark

        return reading.read(context, source, allowed, end, table)
    return sources.reader(source.kind).read(source, allowed, end, table)


def _judge(config: IngestConfig, tally: _Tally, rows: int, bad: list[Bad]) -> None:
    rows, count = tally.rows_before + tally.rows + rows, tally.bad_before + tally.bad + len(bad)
    limit = config.source.max_bad
    if count <= limit if limit >= 1 else count <= limit * (rows + count):
        return
    first = sorted(bad, key=lambda row: (row.source, row.position))[:3]
    examples = "; ".join(f"{row.source} at {row.position}: {row.reason}" for row in first)
    raise StepError(
        "TW523",
        f"{count} of {rows + count} rows of {config.name!r} cannot be read",
        retryable=False,
        got=examples,
        expected=f"at most {limit:g}" if limit >= 1 else f"at most {limit:.1%}",
        fix="name the columns' types as they are sent, or raise max_bad: the rows then go to quarantine, with a reason",
        path=f"sources.{config.name}.max_bad",
    )


def _quarantine(context: StepContext, refused: Table, table: Table, chunk: sources.Chunk) -> bool:
    """Commit the bad rows that the quarantine does not hold yet: it may be ahead of the rows, never behind.

    Where it is ahead, another attempt was there: one that may have seen other columns, or other answers. One that comes
    as far at the same moment and refuses other rows moves it otherwise, so that neither takes the other's for its own.

    Returns:
        Whether messages may be in quarantine that are rows once this chunk is.

    Raises:
        PositionsMovedError: where that one was not killed, and has committed its rows.
    """
    now = refused.positions([*chunk.marks, *taking_out.IDS])
    before = {id: chunk.positions[id].before for id in chunk.marks}
    ahead = {id: known for id in before if (known := now[id]) is not None and known > (before[id] or 0)}
    if ahead and table.positions(ahead) != {id: before[id] for id in ahead}:
        raise PositionsMovedError(table.name)
    told = [row for row in chunk.bad if (known := now[row.id]) is not None and row.at < known]
    held = quarantine.held(refused.snapshot(), told, "ingest") if told else set()
    new = [row for row in chunk.bad if (row.source, row.position, row.content) not in held]
    moves = {id: Advance(now[id], mark) for id, mark in chunk.marks.items() if (now[id] or 0) < mark or now[id] is None}
    again = taking_out.partitions({id: (before[id] or 0, min(known, chunk.marks[id])) for id, known in ahead.items()})
    good = taking_out.refused_within(refused, again) - {(row.source, row.position) for row in chunk.bad}
    if not new and not refused.exists():
        refused.create(quarantine.SCHEMA)
    if moves or new:
        # Of others than Kafka, where none is taken out again, runs that refuse nothing are not in each other's way.
        if new or taking_out.partitions(chunk.marks):
            moves |= taking_out.told(now, moves, new, late=bool(again))
        rows = quarantine.to_arrow(new, "ingest")
        staged = refused.stage(rows.to_batches(), quarantine.SCHEMA) if new else []
        metadata: dict[str, Any] = {"run": context.request.run_id, "rows": len(new)}
        refused.commit(staged, schema=quarantine.SCHEMA, positions=moves, metadata=metadata)
    return bool(good or (again and new))
