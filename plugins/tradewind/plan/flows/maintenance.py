"""Maintenance: the pipeline's tables, kept in order."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.plan.model import PlanStep
from tradewind.plan.steps import StepBuilder
from tradewind.spec.tables import tables
from tradewind_runtime.contract.maintenance import MaintainConfig, Maintenance


def steps(builder: StepBuilder) -> Iterator[PlanStep]:
    """One step for all of them; it needs no lease, since runs read the versions that they are pinned to."""
    assert builder.pipeline.maintenance is not None
    yield builder.step("maintain", MaintainConfig(maintenance=_filled(builder)), every_run=True)


def _filled(builder: StepBuilder) -> Maintenance:
    """With the column that says how old a row is, for each table whose rows are not kept for good."""
    block, usual = builder.pipeline.maintenance, tables(builder.pipeline)
    assert block is not None
    retain = {name: one.model_copy(update={"by": one.by or usual[name]}) for name, one in block.retain.items()}
    return block.model_copy(update={"retain": retain})
