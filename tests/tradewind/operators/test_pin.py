"""A run's first task: which window it is about, which requests it takes, and whose lease it is."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.definitions.asset import AssetUniqueKey
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from tradewind.operators.lease import lease_name
from tradewind.operators.pin import PinOperator
from tradewind.operators.release import ReleaseOperator
from tradewind.plan.model import Arrival, Plan, PlanDag, PlanStep, Schedule
from tradewind.plan.request import Run
from tradewind_runtime import leases, retraining
from tradewind_runtime.contract.pins import Ends
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.documents import Documents

PIN = PlanStep(id="pin", kind="pin", windowed=True, every_run=True)


def day(number: int) -> datetime:
    return datetime(2013, 6, number, tzinfo=UTC)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    steps = (PIN, PlanStep(id="transform", kind="transform", windowed=True))
    dag = PlanDag(dag_id="p", flow="train", steps=steps, schedule=Schedule(cron="@daily"))
    return Plan(
        pipeline="p", profile="local", file="p.yaml", lake=f"file://{tmp_path}/a lake", pool="heavy",
        environments={"steps": {"python": sys.executable}}, dags=(dag,),
    )  # fmt: skip


class TaskInstance:
    """Knows how other runs, or the run's tasks, have ended."""

    def __init__(self, states: dict[str, str]) -> None:
        self.states = states

    def get_task_states(self, *, dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str]]:
        assert dag_id == "p"
        return {run_ids[0]: self.states}

    def get_dagrun_state(self, *, dag_id: str, run_id: str) -> str:
        assert dag_id == "p"
        return self.states[run_id]


def pin(
    plan: Plan, run_id: str, *, kind: str = "manual", states: dict[str, str] | None = None, **context: Any
) -> dict[str, Any]:
    found = {
        "params": context.pop("params", {}),
        "run_id": run_id,
        "dag": SimpleNamespace(dag_id="p"),
        "dag_run": SimpleNamespace(run_type=kind),
        "ti": TaskInstance(states or {}),
        **context,
    }
    return PinOperator(plan=plan, flow="train", step=PIN, task_id="pin").execute(found)


def window(plan: Plan, run_id: str) -> Window:
    pins = Run(plan, "train", run_id, Documents(plan.lake)).pins()
    assert pins is not None
    return pins.window


def release(plan: Plan) -> None:
    lease = leases.current(Documents(plan.lake), lease_name(plan, "train"))
    assert lease is not None
    leases.release(Documents(plan.lake), lease)


def asked(plan: Plan, first: int, last: int) -> None:
    retraining.ask(Documents(plan.lake), retraining.RetrainRequest(
        pipeline="p", endpoint="m", digest="a" * 64, window=Window(start=day(first), end=day(last)), reason="drift",
        created=day(last)))  # fmt: skip


def test_parameters_come_before_requests_and_these_before_the_interval(plan: Plan) -> None:
    asked(plan, 3, 4)
    interval = {"data_interval_start": day(20), "data_interval_end": day(21)}
    pin(plan, "r1", params={"window_start": "2013-06-01T00:00:00Z", "window_end": "2013-06-02T00:00:00Z"}, **interval)
    release(plan)
    pin(plan, "r2", **interval)
    release(plan)
    pin(plan, "r3", states={"r2": "success"}, **interval)
    assert [window(plan, run).start for run in ("r1", "r2", "r3")] == [day(1), day(3), day(20)]


def test_requests_of_a_run_that_failed_are_taken_by_the_next(plan: Plan) -> None:
    asked(plan, 3, 4)
    pin(plan, "r1", kind="asset_triggered")
    release(plan)
    with pytest.raises(AirflowSkipException, match="nothing is asked for"):
        pin(plan, "r2", kind="asset_triggered", states={"r1": "running"})
    pin(plan, "r3", kind="asset_triggered", states={"r1": "failed"})
    assert window(plan, "r3").start == day(3)


def updated(*days: tuple[int, int]) -> dict[Any, list[Any]]:
    """What Airflow tells of the events that have started a run."""
    events = [
        SimpleNamespace(extra={"window": Window(start=day(first), end=day(last)).model_dump(mode="json")})
        for first, last in days
    ]
    return {AssetUniqueKey("features", "tradewind://table/other/features"): events}


def test_a_run_after_others_tables_is_about_the_windows_of_their_runs(plan: Plan) -> None:
    dag = plan.dags[0].model_copy(update={"schedule": Schedule(after=("tradewind://table/other/features",))})
    after = plan.model_copy(update={"dags": (dag,)})
    pin(after, "r1", kind="asset_triggered", triggering_asset_events=updated((3, 4), (5, 6)))
    assert (window(after, "r1").start, window(after, "r1").end) == (day(3), day(6))


def arrived(*days: int) -> dict[Any, list[Any]]:
    """What the trigger has told, each time a day after what waits first came."""
    events = [
        SimpleNamespace(
            timestamp=day(number),
            extra={"from_trigger": True, "payload": {"since": day(number - 1).isoformat(), "unread": 7}},
        )
        for number in days
    ]
    return {AssetUniqueKey("clicks", "tradewind://arrival/p/clicks"): events}


def test_a_run_by_what_arrived_goes_on_from_the_end_of_the_last_and_reads_nothing_twice(plan: Plan) -> None:
    arrival = Arrival(source="clicks", kafka={"topic": "c"}, enough=5, wait=60, poll=10)
    by = plan.model_copy(update={"dags": (plan.dags[0].model_copy(update={"schedule": Schedule(arrival=arrival)}),)})
    documents, now = Documents(plan.lake), datetime.now(UTC)
    pin(by, "r1", kind="asset_triggered", triggering_asset_events=arrived(5, 6))
    assert window(by, "r1").start == day(4)
    assert window(by, "r1").end >= now
    release(by)

    ends = Ends(pipeline="p", run_id="r1", created=day(8), until=day(7))
    documents.put(Ends.path("p"), ends.model_dump_json().encode())
    with pytest.raises(AirflowSkipException, match="is read by the run r1"):
        pin(by, "r2", kind="asset_triggered", triggering_asset_events=arrived(6, 7))
    assert leases.current(documents, lease_name(by, "train")) is None
    pin(by, "r3", kind="asset_triggered", triggering_asset_events=arrived(7, 9))
    assert window(by, "r3").start == day(6)
    release(by)
    pin(by, "r4", kind="asset_triggered", triggering_asset_events=arrived(12))
    assert window(by, "r4").start == day(7), "nothing between two windows"


def test_an_event_that_a_person_made_says_by_its_own_time_since_when_something_waits(plan: Plan) -> None:
    """In Airflow's UI, or by POST /assets/events, with or without words of theirs."""
    arrival = Arrival(source="clicks", kafka={"topic": "c"}, enough=5, wait=60, poll=10)
    by = plan.model_copy(update={"dags": (plan.dags[0].model_copy(update={"schedule": Schedule(arrival=arrival)}),)})

    def made(number: int, **words: Any) -> dict[Any, list[Any]]:
        event = SimpleNamespace(timestamp=day(number), extra={"from_rest_api": True, **words})
        return {AssetUniqueKey("clicks", "tradewind://arrival/p/clicks"): [event]}

    pin(by, "r1", kind="asset_triggered", triggering_asset_events=made(5))
    assert window(by, "r1").start == day(5)
    release(by)
    pin(by, "r2", kind="asset_triggered", triggering_asset_events=made(6, payload="mine"))
    assert window(by, "r2").start == day(6)
    release(by)
    both = {key: [*events, *made(6)[key]] for key, events in arrived(5).items()}
    pin(by, "r3", kind="asset_triggered", triggering_asset_events=both)
    assert window(by, "r3").start == day(4), "the trigger's tells more"
    release(by)
    ends = Ends(pipeline="p", run_id="r3", created=day(8), until=day(7))
    Documents(plan.lake).put(Ends.path("p"), ends.model_dump_json().encode())
    pin(by, "r4", kind="asset_triggered", triggering_asset_events=made(12))
    assert window(by, "r4").start == day(7), "nothing between two windows"


def test_who_does_training_anew_asks_for_it(plan: Plan) -> None:
    for anew in (frozenset({"transform"}), frozenset({"train"})):
        run = Run(plan, "train", "r1", Documents(plan.lake), refresh=anew)
        request = run.request(PIN, window=Window(start=day(1), end=day(2)))
        assert request.config.get("asked", False) is ("train" in anew)


def test_a_backfill_takes_no_requests(plan: Plan) -> None:
    asked(plan, 3, 4)
    pin(plan, "b1", kind="backfill", data_interval_start=day(8), data_interval_end=day(9))
    assert window(plan, "b1").start == day(8)
    assert len(retraining.waiting(Documents(plan.lake), "p")) == 1


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "TW220"),
        ({"window_start": "2013-06-01T00:00:00Z"}, "TW221"),
        ({"window_start": "2013-06-02T00:00:00Z", "window_end": "2013-06-02T00:00:00Z"}, "TW225"),
    ],
)
def test_a_wrong_window_is_told_and_holds_nobody_up(plan: Plan, params: dict[str, str], code: str) -> None:
    with pytest.raises(AirflowFailException, match=code):
        pin(plan, "r1", params=params)
    assert leases.current(Documents(plan.lake), lease_name(plan, "train")) is None


def test_a_step_that_there_is_not_is_not_done_anew(plan: Plan) -> None:
    with pytest.raises(AirflowFailException, match=r"TW228[\s\S]*did you mean: transform"):
        pin(plan, "r1", params={"refresh": ["trasnform"]}, data_interval_start=day(1), data_interval_end=day(2))
    assert leases.current(Documents(plan.lake), lease_name(plan, "train")) is None
    assert Run(plan, "train", "r1", Documents(plan.lake)).pins() is None


def test_a_run_waits_for_the_lease_and_passes_over_one_that_has_ended(plan: Plan) -> None:
    wanted = {"params": {"window_start": "2013-06-01T00:00:00Z", "window_end": "2013-06-02T00:00:00Z"}}
    pin(plan, "r1", **wanted)
    with pytest.raises(TaskDeferred):
        pin(plan, "r2", states={"r1": "running"}, **wanted)
    held = leases.current(Documents(plan.lake), lease_name(plan, "train"))
    assert held is not None
    assert held.run == "r1"
    pin(plan, "r2", states={"r1": "failed"}, **wanted)
    held = leases.current(Documents(plan.lake), lease_name(plan, "train"))
    assert held is not None
    assert held.run == "r2"


@pytest.mark.parametrize("end", ["success", "failed", "skipped"])
def test_the_last_task_gives_the_lease_back_and_a_cancelled_run_has_failed(plan: Plan, end: str) -> None:
    pin(plan, "r1", params={"window_start": "2013-06-01T00:00:00Z", "window_end": "2013-06-02T00:00:00Z"})
    step = PlanStep(id="release", kind="release", every_run=True)
    operator = ReleaseOperator(plan=plan, flow="train", step=step, task_id="release")
    states = {"pin": "success", "transform": end, "release": "running"}
    found = {"params": {}, "run_id": "r1", "dag": SimpleNamespace(dag_id="p"), "ti": TaskInstance(states)}
    if end == "failed":
        with pytest.raises(AirflowFailException, match="see transform"):
            operator.execute(found)
    else:
        assert operator.execute(found) == {"released": True}
    assert leases.current(Documents(plan.lake), lease_name(plan, "train")) is None
