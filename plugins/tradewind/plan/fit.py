"""What a YAML asks of its profile, and the profile does not have."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.errors import Problem, nearest
from tradewind.plan.model import Plan
from tradewind.plan.pods import said_at, unmet
from tradewind.spec import Pipeline
from tradewind.spec.nodes import Mapping, written
from tradewind.spec.places import find


def unfit(plan: Plan, pipeline: Pipeline, node: Mapping) -> Iterator[Problem]:
    """Environments and resources that the YAML names for steps which the plan has, and the price of what it pays for.

    Args:
        plan: of the pipeline, under the profile.
        pipeline: what the YAML says.
        node: the YAML itself, for the places.
    """
    yield from _environments(plan, pipeline, node)
    yield from unmet(plan, pipeline, node)
    yield from _price(plan, pipeline, node)


def _environments(plan: Plan, pipeline: Pipeline, node: Mapping) -> Iterator[Problem]:
    kinds = dict.fromkeys(step.kind for dag in plan.dags for step in dag.steps)
    asked = {said_at(pipeline, kind, "environment"): pipeline.defaults.of(kind).environment for kind in kinds}
    for path, name in asked.items():
        if name is not None and name not in plan.environments:
            yield find(node, path).problem(
                "TW160",
                f"the profile {plan.profile!r} has no environment {name!r}",
                path=written(path),
                got=name,
                expected=", ".join(plan.environments),
                suggestion=nearest(name, plan.environments),
                fix=f"environments: {{{name}: {{python: …, image: …}}}} in profiles/{plan.profile}.yaml",
            )


def _price(plan: Plan, pipeline: Pipeline, node: Mapping) -> Iterator[Problem]:
    budget = pipeline.tune.search.budget if pipeline.tune else None
    if budget is None or budget.cost is None or budget.price_per_hour is not None:
        return
    assert pipeline.tune is not None
    (step,) = (step for dag in plan.dags for step in dag.steps if step.kind == "tune")
    price = step.settings.get("price_per_hour")
    if isinstance(price, bool) or not isinstance(price, int | float) or price <= 0:
        path = ("tune", pipeline.tune.tuner, "budget", "cost")
        yield find(node, path).problem(
            "TW161",
            f"a budget of {budget.cost:g}, and nobody says what an hour of a trial costs",
            path=written(path),
            got=budget.cost,
            expected="price_per_hour, a number above 0",
            fix=f"add price_per_hour beside cost, or to settings in profiles/{plan.profile}.yaml",
        )
