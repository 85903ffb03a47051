"""Maintenance: the pipeline's tables, kept in order."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.plan.model import PlanStep
from tradewind.plan.steps import StepBuilder
from tradewind_runtime.contract.maintenance import MaintainConfig


def steps(builder: StepBuilder) -> Iterator[PlanStep]:
    """One step for all of them; it needs no lease, since it changes no row."""
    spec = builder.pipeline
    assert spec.maintenance is not None
    yield builder.step("maintain", MaintainConfig(maintenance=spec.maintenance), every_run=True)
