"""A pipeline under a profile, as a plan: which flows it has, and when each runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tradewind.errors import TradewindError
from tradewind.plan.code import UserCode
from tradewind.plan.fit import unfit
from tradewind.plan.flows import maintenance, monitor, rollout, score, train
from tradewind.plan.model import Flow, Plan, PlanDag, PlanStep, Schedule, model_asset, retraining_asset
from tradewind.plan.schedule import arrival_of, schedule_of
from tradewind.plan.steps import StepBuilder
from tradewind.profile import Profile
from tradewind.spec import Pipeline
from tradewind.spec.nodes import Mapping, Mark


def build(
    pipeline: Pipeline,
    profile: Profile,
    code: UserCode,
    *,
    file: str,
    text: str = "",
    commit: str = "",
    node: Mapping | None = None,
) -> Plan:
    """The plan of one pipeline.

    Args:
        pipeline: validated.
        profile: where steps run.
        code: the user code of the same version.
        file: the YAML's path in the project.
        text: the YAML itself, which a registered model carries.
        commit: the one in Git, else a digest of the project's files.
        node: the YAML as it was read, so that a problem has its place.

    Raises:
        TradewindError: with all that the YAML asks of the profile, and the profile does not have.
    """
    runners = (profile.runner, *profile.runners.values())
    plan = Plan(
        pipeline=pipeline.pipeline,
        profile=profile.profile,
        file=file,
        description=pipeline.description,
        owner=pipeline.owner,
        tags=tuple(pipeline.tags),
        lake=profile.lake.uri,
        lake_connection=profile.lake.connection,
        pool=profile.pool,
        environments={name: env.model_dump() for name, env in profile.environments.items()},
        kubernetes=profile.kubernetes.model_dump() if "kubernetes" in runners or profile.serving.own else {},
        code_archive=code.digest,
        alerts=pipeline.alerts.model_dump(mode="json", exclude_none=True),
        model=pipeline.promote.model if pipeline.promote else None,
        dags=tuple(_dags(StepBuilder(pipeline, profile, code, text, commit))),
    )
    if problems := tuple(unfit(plan, pipeline, node or Mapping(Mark(file, 1, 1)))):
        raise TradewindError(*problems)
    return plan


def _dags(builder: StepBuilder) -> Iterator[PlanDag]:
    """Training always; the others where the YAML has their block."""
    spec = builder.pipeline
    requests = (retraining_asset(spec.pipeline),) if spec.monitor and spec.monitor.then == "retrain" else ()
    arrival = arrival_of(spec, builder.profile.settings)
    yield _dag(builder, "train", schedule_of(spec.schedule, requests, arrival), train.steps(builder))
    if spec.promote and spec.deploy:
        challenger = Schedule(assets=(model_asset(spec.promote.model),))
        yield _dag(builder, "rollout", challenger, rollout.steps(builder))
    if spec.monitor:
        yield _dag(builder, "monitor", _own_schedule(spec, spec.monitor.schedule), monitor.steps(builder))
    if spec.score:
        yield _dag(builder, "score", _own_schedule(spec, spec.score.schedule), score.steps(builder))
    if spec.maintenance:
        # It goes on after the pipeline's last day: the tables are still there.
        by = Schedule(cron=spec.maintenance.schedule, timezone=spec.schedule.timezone if spec.schedule else "UTC")
        yield _dag(builder, "maintenance", by, maintenance.steps(builder))


def _dag(builder: StepBuilder, flow: Flow, schedule: Schedule, steps: Iterable[PlanStep]) -> PlanDag:
    spec = builder.pipeline
    main = flow == "train"
    body = tuple(steps)
    # The lease is released after all that nothing else comes after.
    followed = {upstream for step in body for upstream in step.upstream}
    leaves = tuple(step.id for step in body if step.id not in followed)
    return PlanDag(
        dag_id=spec.pipeline if main else f"{spec.pipeline}__{flow}",
        flow=flow,
        schedule=schedule,
        params={name: param.json_schema() for name, param in spec.params.items()} if main else {},
        description=spec.description,
        steps=(*body, builder.step("release", {}, upstream=leaves, every_run=True)),
    )


def _own_schedule(pipeline: Pipeline, cron: str | None) -> Schedule:
    """A second DAG's cron, within the pipeline's own first and last day."""
    return schedule_of(pipeline.schedule, ()).model_copy(update={"cron": cron, "after": ()})
