"""The replay of a stage: the one thing that it may start, in a process or a pod. Pure."""

from __future__ import annotations

from tradewind.plan.model import PlanStep
from tradewind_runtime.contract.deploy import Deploy


def replay_of(stage: PlanStep) -> PlanStep:
    """What is started where a stage has too little traffic; the stage's plan says how the server is reached."""
    requests = max(1, Deploy.model_validate(stage.config["deploy"]).stage.min_requests)
    server = {"server": url} if (url := stage.config.get("server")) else {}
    return PlanStep(
        id=f"{stage.id}_replay",
        kind="replay",
        config={"endpoint": stage.config["endpoint"], "requests": requests} | server,
        every_run=True,
        runner=stage.runner,
        environment=stage.environment,
        settings=stage.settings,
        connections=stage.connections,
        secrets=stage.secrets,
        timeout=stage.timeout,
    )


def in_pod(step: PlanStep) -> PlanStep:
    """The step that the pod of a task does, where it has one."""
    return replay_of(step) if step.kind == "stage" else step
