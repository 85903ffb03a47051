"""Batch scoring: the champion's predictions for a window's rows of a table."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.plan.model import PlanStep, table_asset
from tradewind.plan.steps import StepBuilder
from tradewind_runtime.contract.deploy import ScoreConfig
from tradewind_runtime.contract.pins import PinConfig


def steps(builder: StepBuilder) -> Iterator[PlanStep]:
    """Champion and table are pinned, then the one scores the other."""
    spec = builder.pipeline
    assert spec.score is not None
    assert spec.promote is not None
    table = f"{spec.pipeline}/{spec.score.table}"
    pins = PinConfig(model=spec.promote.model, tables=(table,))
    yield builder.step("pin", pins, connections=builder.registry, every_run=True, windowed=True)
    yield builder.step(
        "score",
        ScoreConfig(score=spec.score, time=spec.split.time),
        upstream=("pin",),
        pins={"champion": "champion"},
        inputs={"table": f"table:{table}"},
        windowed=True,
        computes=True,
        outlets=(table_asset(spec.pipeline, spec.score.output),),
    )
