"""`transform`: from checked tables to the table that models learn from, by the engine that the YAML names.

The engine computes and writes files; this step commits them, once for each fingerprint, in place of the
rows of the same span of time (or of all rows, where the split is not by time).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import engines
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.contract.transform import TransformConfig
from tradewind_runtime.engines import Job, TransformContext
from tradewind_runtime.engines.output import MOMENT, refused
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import PositionsMovedError, Table
from tradewind_runtime.replacing import Replace


def run(context: StepContext) -> StepOutcome:
    """Compute the features of the span that the split needs.

    Raises:
        StepError: TW545 where the user's job fails, TW547 where its result cannot be used.
    """
    config = context.config(TransformConfig)
    table, done = context.table(config.output), f"step:{context.request.fingerprint}"
    job = _job(context, config, table)
    if table.position(done) is not None:
        return _outcome(context, table, job)
    if job.spec is None:
        from tradewind_runtime.engines.python import identity

        output = identity(job)
    else:
        output = engines.load(context.request.engine).transform(job)
    if not output.files:
        raise _empty(job)
    span = job.context.range
    try:
        table.commit(
            output.files,
            schema=output.schema,
            positions={done: Advance(None, 1)},
            replace=Replace(job.time, span.start, span.end) if job.time and span else "all",
            metadata={"step": context.request.fingerprint, "run": context.request.run_id},
        )
    except PositionsMovedError:
        context.log.info("another attempt was first: adopting its rows")
    return _outcome(context, table, job)


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
    spec = (given.spark or given.sql or given.python) if given else None
    span = Window(start=bounds["train"].start, end=bounds["test"].end) if bounds else None
    return Job(
        step=context,
        spec=spec,
        output=table,
        time=split.time if split else None,
        tables={name: context.snapshot(name) for name in sorted(context.request.inputs)},
        context=TransformContext(window, span, dict(getattr(spec, "args", {})), context.log),
    )


def _outcome(context: StepContext, table: Table, job: Job) -> StepOutcome:
    fingerprint, span = context.request.fingerprint, job.context.range
    snapshot = table.snapshot(table.version_with("step", fingerprint))
    where = None
    if job.time and span:
        low, high = (pa.scalar(at, MOMENT) for at in (span.start, span.end))
        where = (pc.field(job.time) >= low) & (pc.field(job.time) < high)
    rows = snapshot.count(where)
    context.log.info("%s: %d rows of %d columns", table.name, rows, len(snapshot.schema))
    return StepOutcome(
        outputs={"features": DatasetRef(table=table.name, version=snapshot.version)},
        metrics={"rows": rows, "columns": len(snapshot.schema)},
        facts={
            "columns": snapshot.schema.names,
            "engine": context.request.engine,
            "range": span.model_dump(mode="json") if span else None,
            "read": {name: one.version for name, one in job.tables.items()},
        },
    )


def _empty(job: Job) -> StepError:
    span = job.context.range
    read = ", ".join(f"{name}: {snapshot.count()} rows" for name, snapshot in job.tables.items())
    where = f" between {span.start:%Y-%m-%d %H:%M} and {span.end:%Y-%m-%d %H:%M}" if job.time and span else ""
    return refused(f"has no rows{where}", "is there data of that time, and does the transform keep it?", got=read)
