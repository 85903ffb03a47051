"""`maintain`: rows go that are older than their table keeps them, small files of a pipeline's tables are put together,
then versions go that nobody stands on.

Doing it again, or beside a run, is harmless: a rival's commit comes first, and how old a row is counts from the moment
at which the run's first attempt began.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime

from tradewind_runtime import maintenance, retention
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.maintenance import MaintainConfig, Maintenance
from tradewind_runtime.contract.pins import safe_run
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.lake import FOREIGN


class Begun(Frozen):
    """`runs/<pipeline>/<run_id>/maintain.json`, created once: an attempt after a kill takes nothing more away."""

    at: AwareDatetime


def run(context: StepContext) -> StepOutcome:
    """Every table that the lake has of the pipeline, also of sources that its YAML no longer names.

    Raises:
        StepError: TW534 where a table has no column that says how old its rows are, TW536 where another program has
            written to one; all else is done before.
    """
    config = context.request.configured(MaintainConfig).maintenance
    days = config.keep / timedelta(days=1)
    expired, amiss = _expire(context, config)
    names = sorted(name for name in context.lake.tables() if name.startswith(f"{context.request.pipeline}/"))
    pins = maintenance.pinned(context.lake.documents)
    compacted, vacuumed = [], []
    for name in names:
        try:
            compacted += [maintenance.compact(context.lake, name)] if config.compact else []
            vacuumed.append(maintenance.vacuum(context.lake, name, pins, days=days, dry_run=False))
        except StepError as error:
            if error.problems[0].code != FOREIGN:
                raise
            context.log.warning("%s", error)
            amiss = amiss or error
    for old_rows in expired:
        context.log.info("%s: %d rows were deleted: they were older than it keeps them", old_rows.table, old_rows.rows)
    for small in compacted:
        context.log.info("%s: %d small files were put together; it has %d now", small.table, small.files, small.left)
    for old in vacuumed:
        context.log.info("%s: %d files of old versions were deleted", old.table, old.files)
    if amiss is not None:
        raise amiss
    return StepOutcome(
        metrics={
            "tables": len(names),
            "expired_rows": sum(one.rows for one in expired),
            "compacted_files": sum(one.files for one in compacted),
            "deleted_files": sum(one.files for one in vacuumed),
        },
        facts={"pinned": {one.table: list(one.pinned) for one in vacuumed if one.pinned}},
    )


def _expire(context: StepContext, config: Maintenance) -> tuple[list[retention.Expired], StepError | None]:
    """What went of the tables that are there, and what stands in the way of the first that cannot be asked."""
    done: list[retention.Expired] = []
    amiss: StepError | None = None
    for name, retain in sorted(config.retain.items()):
        table = context.table(name)
        if not table.exists():
            continue
        assert retain.by is not None, "the plan has filled it in"
        try:
            done.append(retention.expire(table, retain.by, _begun(context) - retain.rows))
        except StepError as error:
            if error.problems[0].code != retention.NO_TIME:
                raise
            context.log.warning("%s", error)
            amiss = amiss or error
    return done, amiss


def _begun(context: StepContext) -> datetime:
    path = f"runs/{context.request.pipeline}/{safe_run(context.request.run_id)}/maintain.json"
    context.lake.documents.create_model(path, Begun(at=datetime.now(UTC).replace(microsecond=0)))
    found = context.lake.documents.get_model(path, Begun)
    assert found is not None, "a document that was created can be read"
    return found.at
