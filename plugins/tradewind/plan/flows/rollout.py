"""Rollout: a challenger takes over the endpoint by stages, and becomes the champion."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tradewind.plan.model import PlanStep
from tradewind.plan.steps import StepBuilder


def steps(builder: StepBuilder) -> Iterator[PlanStep]:
    """The version is selected, approved where a person must, served more and more, then promoted."""
    spec = builder.pipeline
    assert spec.promote is not None
    assert spec.deploy is not None
    model = {"model": spec.promote.model, "registry": spec.promote.registry}
    endpoint = {"endpoint": spec.promote.model}
    version = {"version": "select.version"}
    step = partial(builder.step, every_run=True)
    select = partial(step, "select", model | endpoint, connections=builder.registry)
    yield select()
    last = "select"
    if spec.promote.approval == "human":
        yield step("approve", model, upstream=("select",), when="select", inputs=version)
        # Whoever approves may take days: a newer version supersedes one that has no traffic yet.
        yield select(id="confirm", upstream=("approve",), inputs=version)
        last = "confirm"
    if own := builder.profile.serving.own:
        yield step("serve", endpoint | {"own": own.model_dump()}, upstream=(last,), when="select")
        last = "serve"
    for percent in spec.deploy.canary:
        config = endpoint | {"weight": percent, "deploy": spec.deploy.model_dump(mode="json")}
        yield step("stage", config, id=f"canary_{percent}", upstream=(last,), when="select", inputs=version)
        last = f"canary_{percent}"
    yield step(
        "promote", model | endpoint, upstream=(last,), when="select", inputs=version, connections=builder.registry
    )
    yield from builder.notify("promotion", after="promote", when="select", inputs=version)
