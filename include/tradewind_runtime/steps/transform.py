"""`transform`: from checked tables to the table that models learn from, by the engine that the YAML names.

The engine computes and writes files; this step commits them, once for each fingerprint, in place of the
rows of the same span of time (or of all rows, where the split is not by time).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import engines, incremental
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.base import digest
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.contract.transform import TransformConfig
from tradewind_runtime.engines import Job, Output, TransformContext
from tradewind_runtime.engines.output import MOMENT, refused
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import PositionsMovedError, Table
from tradewind_runtime.replacing import Replace, Replacing
from tradewind_runtime.widening import fit

RIVALS = 20  # how often another run may be first before this one gives up
FACTS = "facts"  # in a commit's metadata: of the result, what only the attempt that computed it knows


def run(context: StepContext) -> StepOutcome:
    """Compute the features of the span that the split needs; of it, where the YAML says so, what has changed.

    Raises:
        StepError: TW545 where the user's job fails, TW547 where its result cannot be used, TW519 where a wider column
            of it would round what the table has.
    """
    config = context.request.configured(TransformConfig)
    table = context.table(config.output)
    job, mark = _job(context, config, table), context.made(table)
    if table.position(f"step:{mark}") is not None:
        return _outcome(context, table, job, mark)
    for _ in range(RIVALS):
        try:
            if not _incremental(context, config, table, job, mark):
                _whole(context, table, job, mark)
            return _outcome(context, table, job, mark)
        except PositionsMovedError:
            if table.position(f"step:{mark}") is not None:
                context.log.info("another attempt was first: adopting its rows")
                return _outcome(context, table, job, mark)
            context.log.info("another run has computed meanwhile: going on from what it left")
    raise StepError("TW521", f"table {table.name!r}: other runs were first {RIVALS} times", fix="try again")


def _whole(context: StepContext, table: Table, job: Job, mark: str) -> None:
    """All of the span, or all rows."""
    output, span = _computed(context, job), job.context.range
    if not output.files:
        raise _empty(job)
    given = Replace(job.time, span.start, span.end) if job.time and span else "all"
    at = table.position(incremental.TOLD)
    # A run that computes parts of it looks again.
    moves = {} if at is None else {incremental.TOLD: Advance(at, at + 1)}
    _commit(context, table, output, given, mark, moves=moves)


def _incremental(context: StepContext, config: TransformConfig, table: Table, job: Job, mark: str) -> bool:
    """What has changed of the span; False where the YAML does not say so, or there is no span."""
    asked, span = config.transform and config.transform.incremental, job.context.range
    if not asked or not job.time or not span:
        return False
    times, at = config.times or {}, table.position(incremental.TOLD)
    found = incremental.todo(
        table,
        _recipe(context, config),
        job.tables,
        time=job.time,
        times=times,
        lookback=asked.lookback,
        wanted=span,
        anew=context.request.refresh is not None,
    )
    context.log.info("%s: computing %s: %s", table.name, incremental.texts(found.spans) or "nothing", found.why)
    parts = [_part(context, job, part, times, asked.lookback) for part in found.spans]
    files = [staged for part in parts for staged in part.files]
    if not files and found.spans == (span,):
        raise _empty(job)
    schema = parts[0].schema if parts else table.snapshot().schema
    for part in parts:
        if part.schema != schema:
            raise refused(
                "has other columns for other days",
                "have it give the same columns always, or remove incremental",
                got=", ".join(part.schema.names),
                expected=", ".join(schema.names),
            )
    _commit(
        context,
        table,
        Output(schema, files),
        [Replace(job.time, part.start, part.end) for part in found.spans],
        mark,
        told={
            incremental.TOLD: found.covered.model_dump(mode="json"),
            FACTS: {"computed": [one.model_dump(mode="json") for one in found.spans], "why": found.why},
        },
        moves={incremental.TOLD: Advance(at, (at or 0) + 1)},
    )
    return True


def _part(context: StepContext, job: Job, span: Window, times: Mapping[str, str], lookback: timedelta) -> Output:
    tables = {name: incremental.within(one, times.get(name), span, lookback) for name, one in job.tables.items()}
    return _computed(context, replace(job, tables=tables, context=replace(job.context, range=span)))


def _computed(context: StepContext, job: Job) -> Output:
    if job.spec is None:
        from tradewind_runtime.engines.python import identity

        return identity(job)
    return engines.load(context.request.engine).transform(job)


def _commit(
    context: StepContext,
    table: Table,
    output: Output,
    replaced: Replacing,
    mark: str,
    *,
    told: Mapping[str, Any] | None = None,
    moves: Mapping[str, Advance] | None = None,
) -> None:
    fit(table, output.schema)  # a source's column may be wider by now, and the result's with it
    table.commit(
        output.files,
        schema=output.schema,
        positions={f"step:{mark}": Advance(None, 1), **(moves or {})},
        replace=replaced,
        metadata={"step": mark, "run": context.request.run_id, **(told or {})},
    )


def _recipe(context: StepContext, config: TransformConfig) -> str:
    """Of all that decides what a row is, but for the sources' rows."""
    request = context.request
    transform = config.transform.model_dump(mode="json") if config.transform else None
    time = config.split.time if config.split else None
    closure = request.code.closure if request.code else None
    return digest(transform, time, config.times, request.engine, request.environment, closure)


def _job(context: StepContext, config: TransformConfig, table: Table) -> Job:
    given = config.transform
    if given and given.engine != context.request.engine:
        raise StepError(
            "TW546",
            f"the engine {context.request.engine} does not run transform.{given.engine}",
            retryable=False,
            fix="plan the pipeline again",
        )
    split, window = config.split, context.request.window
    bounds = split.bounds(window) if split and window else None
    spec = (given.spark or given.sql or given.python or given.beam) if given else None
    span = Window(start=bounds["train"].start, end=bounds["test"].end) if bounds else None
    return Job(
        step=context,
        spec=spec,
        output=table,
        time=split.time if split else None,
        tables={name: context.snapshot(name) for name in sorted(context.request.inputs)},
        context=TransformContext(window, span, dict(getattr(spec, "args", {})), context.log),
    )


def _outcome(context: StepContext, table: Table, job: Job, mark: str) -> StepOutcome:
    """What was computed, be it by another attempt: its commit tells."""
    done, span = table.commit_with("step", mark), job.context.range
    snapshot = table.snapshot(context.there(table, done.version if done else None))
    where = None
    if job.time and span:
        low, high = (pa.scalar(at, MOMENT) for at in (span.start, span.end))
        where = (pc.field(job.time) >= low) & (pc.field(job.time) < high)
    rows = snapshot.count(where)
    if not rows:
        raise _empty(job)
    context.log.info("%s: %d rows of %d columns", table.name, rows, len(snapshot.schema))
    return StepOutcome(
        outputs={"features": DatasetRef(table=table.name, version=snapshot.version)},
        metrics={"rows": rows, "columns": len(snapshot.schema)},
        facts={
            "columns": snapshot.schema.names,
            "engine": context.request.engine,
            "range": span.model_dump(mode="json") if span else None,
            "read": {name: one.version for name, one in job.tables.items()},
        }
        | (done.told.get(FACTS, {}) if done else {}),
    )


def _empty(job: Job) -> StepError:
    span = job.context.range
    read = ", ".join(f"{name}: {snapshot.count()} rows" for name, snapshot in job.tables.items())
    where = f" between {span.start:%Y-%m-%d %H:%M} and {span.end:%Y-%m-%d %H:%M}" if job.time and span else ""
    return refused(f"has no rows{where}", "is there data of that time, and does the transform keep it?", got=read)
