"""Monitoring: what was asked and answered in a window, judged for drift."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.plan.model import PlanStep, retraining_asset
from tradewind.plan.steps import StepBuilder
from tradewind_runtime.contract.monitor import MonitorConfig
from tradewind_runtime.contract.pins import PinConfig


def steps(builder: StepBuilder) -> Iterator[PlanStep]:
    """Captured requests become a table; drift in it asks for a retraining and tells people."""
    spec = builder.pipeline
    assert spec.monitor is not None
    assert spec.promote is not None
    endpoint = spec.promote.model
    features = f"{spec.pipeline}/features"
    labels = {"labels": f"table:{features}"} if spec.monitor.entity_key and spec.train else {}
    pins = PinConfig(model=endpoint, endpoint=endpoint, tables=(features,) if labels else ())
    yield builder.step("pin", pins, connections=builder.registry, every_run=True, windowed=True)
    yield builder.step(
        "ingest_capture",
        {"endpoint": endpoint, "time": spec.monitor.time},
        id="ingest_requests",
        upstream=("pin",),
        every_run=True,
    )
    config = MonitorConfig(
        endpoint=endpoint,
        monitor=spec.monitor,
        label=spec.train.label if spec.train else None,
        task=spec.train.task if spec.train else "binary",
    )
    yield builder.step(
        "monitor",
        config,
        id="drift",
        upstream=("ingest_requests",),
        inputs={"requests": "ingest_requests.rows"} | labels,
        pins={"generation": "generation"},
        computes=True,
        windowed=True,
    )
    drift = {"drift": "drift.drift"}
    if spec.monitor.then == "retrain":
        yield builder.step(
            "request_retraining",
            {"pipeline": spec.pipeline, "endpoint": endpoint},
            upstream=("drift",),
            when="drift",
            inputs=drift,
            windowed=True,
            every_run=True,
            outlets=(retraining_asset(spec.pipeline),),
        )
    yield from builder.notify("drift", after="drift", when="drift", inputs=drift)
