"""What a YAML asks for its pods, held against what the profile has and allows."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.errors import Problem, StepError, nearest
from tradewind.plan.model import Plan, PlanStep
from tradewind.spec import Pipeline
from tradewind.spec.defaults import PARTS
from tradewind.spec.nodes import Mapping, Path, written
from tradewind.spec.places import find
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.resources import Resources
from tradewind_runtime.launchers.pod import PodSettings, Refusal, pod, refusals, wanted


def unmet(plan: Plan, pipeline: Pipeline, node: Mapping) -> Iterator[Problem]:
    """What steps that run in pods ask for in vain, each told once where it is said."""
    settings = PodSettings.model_validate(plan.kubernetes)
    steps = {_said_at(pipeline, step): step for step in _pods(plan) if step.resources}
    for path, step in steps.items():
        asked = wanted(step.kind, step.resources, settings)
        refused = list(refusals(asked, settings))
        for refusal in refused or _overridden(plan, step, asked, settings):
            yield _problem(refusal, path, plan, node)


def said_at(pipeline: Pipeline, kind: str, what: str) -> Path:
    """Where the environment or the resources of a kind of step are said, among the defaults."""
    block = PARTS.get(kind, kind)
    own = next((over for name, over in pipeline.defaults.steps.items() if name == block), None)
    if own is not None and what in own.model_fields_set:
        return ("defaults", "steps", block, what)
    return ("defaults", what)


def _said_at(pipeline: Pipeline, step: PlanStep) -> Path:
    own = step.kind in ("tune", "train") and pipeline.train is not None and pipeline.train.resources is not None
    return ("train", "resources") if own else said_at(pipeline, step.kind, "resources")


def _pods(plan: Plan) -> Iterator[PlanStep]:
    return (step for dag in plan.dags for step in dag.steps if step.runner == "kubernetes")


def _overridden(plan: Plan, step: PlanStep, asked: Resources, settings: PodSettings) -> Iterator[Refusal]:
    """Why the pod may not run that its `pod_override` would make of it."""
    if asked.pod_override is None:
        return
    request = StepRequest(step=step.kind, id=step.id, pipeline=plan.pipeline, run_id="validate", lake=plan.lake)
    try:
        pod(request, settings, image="image:1", resources=asked, timeout=step.timeout)
    except StepError as error:
        (problem,) = error.problems
        yield Refusal(problem.code, ("pod_override",), problem.message, None, (problem.expected or "",), problem.fix)


def _problem(refusal: Refusal, path: Path, plan: Plan, node: Mapping) -> Problem:
    where = (*path, *refusal.path)
    return find(node, where).problem(
        refusal.code,
        refusal.message,
        path=written(where),
        got=refusal.got,
        expected=", ".join(refusal.known) or None,
        suggestion=nearest(refusal.got, refusal.known),
        fix=refusal.fix and refusal.fix.replace("in the profile", f"in profiles/{plan.profile}.yaml"),
    )
