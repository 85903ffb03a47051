"""One plan's DAGs, as a stub asks for them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import (
    DAG,
    Asset,
    AssetAll,
    AssetAny,
    AssetOrTimeSchedule,
    AssetWatcher,
    CronDataIntervalTimetable,
    Param,
)

from tradewind.factory.tasks import task_of
from tradewind.plan.model import Arrival, Plan, PlanDag, Schedule, arrival_asset, table_asset

#: A DAG without a first day: Airflow wants one, and no run is made before it.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_VERSION = "Which version to roll out, also an older one. Empty: the newest that has passed the gate."
_AT_ONCE = "All requests, with no canary before: to go back from a version that does harm."
_WINDOW = "What the run is about. Empty: the retrain requests that wait, else the run's own data interval."


def dags_of(plan_json: str, *, file: str, text: str = "", depth: int = 0) -> dict[str, DAG]:
    """The DAGs of a plan, by their ids, for a stub's globals.

    Args:
        plan_json: the plan, as the bundle compiled it.
        file: the stub's own path.
        text: the YAML, shown as the DAGs' documentation.
        depth: how many folders the stub lies below the one that has the archive of user code.
    """
    plan = Plan.model_validate_json(plan_json)
    code = Path(file).parents[depth] / "code" / f"{plan.code_archive}.tar.gz" if plan.code_archive else None
    return {dag.dag_id: _dag(plan, dag, code, text) for dag in plan.dags}


def _dag(plan: Plan, part: PlanDag, code: Path | None, text: str) -> DAG:
    dag = DAG(
        dag_id=part.dag_id,
        description=plan.description,
        schedule=_schedule(plan, part.schedule),
        start_date=_midnight(part.schedule.start, part.schedule.timezone) or EPOCH,
        catchup=part.schedule.catchup,
        params=_params(part),
        tags=["tradewind", part.flow, *plan.tags],
        owner_links={},
        doc_md=f"`{plan.file}`\n\n```yaml\n{text}```\n" if text else None,
        max_active_runs=16,
        render_template_as_native_obj=False,
        on_failure_callback=_alerts(plan),
    )
    # Made outside the DAG and then added: inside it, Airflow copies all of its params for every task, twice.
    tasks = {step.id: task_of(plan, part.flow, step, code) for step in part.steps}
    dag.add_tasks(tasks.values())
    for step in part.steps:
        for upstream in step.upstream:
            tasks[upstream] >> tasks[step.id]
        if step.kind == "release":
            tasks[step.id].as_teardown(setups=tasks[part.steps[0].id], on_failure_fail_dagrun=True)
    return dag


def _schedule(plan: Plan, schedule: Schedule) -> Any:
    """A cron's data intervals, what others have updated, what arrives, and what wakes the DAG besides."""
    wakes: list[Any] = [AssetAny(*map(_asset, schedule.assets))] if schedule.assets else []
    if schedule.cron is not None:
        timetable = _cron(schedule.cron, schedule.timezone, _midnight(schedule.end, schedule.timezone))
        return AssetOrTimeSchedule(timetable=timetable, assets=wakes[0]) if wakes else timetable
    if schedule.after:
        wakes.append(AssetAll(*map(_asset, schedule.after)))
    if schedule.arrival is not None:
        wakes.append(_watched(plan, schedule.arrival))
    return AssetAny(*wakes) if wakes else None


def _watched(plan: Plan, arrival: Arrival) -> Asset:
    """An asset that the triggerer updates, by asking the broker."""
    from tradewind.operators.arrival import ArrivalTrigger

    uri = arrival_asset(plan.pipeline, arrival.source)
    trigger = ArrivalTrigger(
        plan.lake, pipeline=plan.pipeline, arrival=arrival.model_dump(mode="json"), connection=plan.lake_connection
    )
    return Asset(uri=uri, name=uri, watchers=[AssetWatcher(name=uri, trigger=trigger)])


def _cron(cron: str, timezone: str, end: datetime | None) -> Any:
    if end is None:
        return CronDataIntervalTimetable(cron, timezone=timezone)
    from tradewind.timetable import CronUntil

    return CronUntil(cron, timezone, end)


def warm() -> None:
    """Pay once, before the DAG processor forks for each file, for what Airflow's first asset costs: all providers."""
    _asset(table_asset("tradewind", "warm"))


def _asset(uri: str) -> Asset:
    return Asset(uri=uri, name=uri)


def _midnight(day: str | None, timezone: str) -> datetime | None:
    return None if day is None else datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(timezone))


def _params(part: PlanDag) -> dict[str, Param]:
    """The pipeline's own, then what every run of the flow has."""
    found = {}
    for name, schema in part.params.items():
        rest = {key: value for key, value in schema.items() if key != "default"}
        found[name] = Param(schema.get("default"), **({"section": "Pipeline"} | rest))
    if part.flow == "rollout":
        return {
            "version": Param(None, type=["null", "string"], title="Version", description=_VERSION),
            "at_once": Param(False, type="boolean", title="At once", description=_AT_ONCE),
        }
    if part.flow == "maintenance":
        return found
    for name, title in (("window_start", "Window's start"), ("window_end", "Window's end")):
        found[name] = Param(
            None, type=["null", "string"], format="date-time", title=title, section="Window", description=_WINDOW
        )
    if steps := list(part.refreshable):
        found["refresh"] = Param(
            [],
            type=["array", "null"],  # the form gives null where all that was chosen is taken out again
            items={"type": "string", "enum": steps},
            examples=steps,  # from which the form offers several
            title="Do anew",
            section="Window",
            description="Steps to do again although they have a result; `train` also asks for a training.",
        )
    return found


def _alerts(plan: Plan) -> Any:
    slack = plan.alerts.get("slack")
    if not slack or "failure" not in slack.get("on", ()):
        return None
    from tradewind.notifiers.slack import SlackNotifier

    return SlackNotifier(connection=slack["connection"], channel=slack["channel"], pipeline=plan.pipeline)
