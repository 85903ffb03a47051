"""`maintain`: small files of a pipeline's tables are put together, then versions go that nobody stands on.

Doing it again, or beside a run, is harmless: no row changes, and a rival's commit comes first.
"""

from __future__ import annotations

from datetime import timedelta

from tradewind_runtime import maintenance
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.maintenance import MaintainConfig
from tradewind_runtime.contract.request import StepOutcome


def run(context: StepContext) -> StepOutcome:
    """Every table that the lake has of the pipeline, also of sources that its YAML no longer names."""
    config = context.config(MaintainConfig).maintenance
    days = config.keep / timedelta(days=1)
    names = sorted(name for name in context.lake.tables() if name.startswith(f"{context.request.pipeline}/"))
    pins = maintenance.pinned(context.lake.documents)
    compacted = [maintenance.compact(context.lake, name) for name in names] if config.compact else []
    vacuumed = [maintenance.vacuum(context.lake, name, pins, days=days, dry_run=False) for name in names]
    for small in compacted:
        context.log.info("%s: %d small files were put together; it has %d now", small.table, small.files, small.left)
    for old in vacuumed:
        context.log.info("%s: %d files of old versions were deleted", old.table, old.files)
    return StepOutcome(
        metrics={
            "tables": len(names),
            "compacted_files": sum(one.files for one in compacted),
            "deleted_files": sum(one.files for one in vacuumed),
        },
        facts={"pinned": {one.table: list(one.pinned) for one in vacuumed if one.pinned}},
    )
