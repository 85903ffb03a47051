"""Rollout: a challenger takes over the endpoint by stages, and becomes the champion."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from tradewind.plan.model import PlanStep
from tradewind.plan.steps import StepBuilder
from tradewind.servers import Wanted
from tradewind_runtime.contract.deploy import SERVING_TOKEN


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
        config = endpoint | {"weight": percent, "deploy": spec.deploy.model_dump(mode="json")} | _reached(builder)
        stage = step("stage", config, id=f"canary_{percent}", upstream=(last,), when="select", inputs=version)
        yield stage.model_copy(update={"runner": builder.profile.runner_of("replay"), "secrets": _token(builder)})
        last = f"canary_{percent}"
    yield step(
        "promote", model | endpoint, upstream=(last,), when="select", inputs=version, connections=builder.registry
    )
    yield from builder.notify("promotion", after="promote", when="select", inputs=version)


def _reached(builder: StepBuilder) -> dict[str, Any]:
    """How a replay reaches the endpoint's own server, and whether it may sleep."""
    own = builder.profile.serving.own
    if own is None:
        return {}
    assert builder.pipeline.promote is not None
    lake = builder.profile.lake
    wanted = Wanted(
        endpoint=builder.pipeline.promote.model, pipeline=builder.pipeline.pipeline, lake=lake.uri,
        connection=lake.connection, own=own, settings=builder.profile.kubernetes,
    )  # fmt: skip
    return {"server": wanted.url} | ({} if own.replicas.min else {"sleeps": True})


def _token(builder: StepBuilder) -> dict[str, str]:
    """What the endpoint's own server asks for; a process has it from its worker's environment alone."""
    own = builder.profile.serving.own
    return {SERVING_TOKEN: own.token} if own and own.token else {}
