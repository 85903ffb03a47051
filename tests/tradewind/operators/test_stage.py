"""A rollout's stages on a real lake; what Airflow would wait for is said by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from tradewind.operators.release import ReleaseOperator
from tradewind.operators.stage import StageOperator
from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind.plan.request import Run
from tradewind_runtime import endpoints, leases
from tradewind_runtime.contract.refs import ModelRef
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import moves

OLD, NEW = "a" * 64, "b" * 64
DEPLOY = {"canary": [10, 100], "stage": {"min_requests": 1, "min_time": 0, "max_time": 60}}


def step(weight: int) -> PlanStep:
    return PlanStep(
        id=f"canary_{weight}", kind="stage", when="select", config={"endpoint": "m", "weight": weight, "deploy": DEPLOY}
    )


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    steps = (PlanStep(id="select", kind="select"), step(10), step(100))
    dag = PlanDag(dag_id="p__rollout", flow="rollout", steps=steps)
    lake = f"file://{tmp_path}/a lake"
    return Plan(pipeline="p", profile="local", file="p.yaml", lake=lake, pool="heavy", model="m", dags=(dag,))


@pytest.fixture
def documents(plan: Plan) -> Documents:
    return selected(plan)


def selected(plan: Plan) -> Documents:
    """A run's, which has chosen what to roll out."""
    found = Documents(plan.lake)
    run = Run(plan, "rollout", "r1", found)
    request = run.request(plan.dags[0].steps[0])
    version = ModelRef(name="m", version="2", digest=NEW)
    moment = "2026-01-01T00:00:00Z"
    result = StepResult(
        fingerprint=request.fingerprint, step="select", id="select", pipeline="p", run_id=run.key,
        outputs={"version": version}, started=moment, finished=moment,
    )  # fmt: skip
    found.create_model(request.result_path, result)
    run.record(request)
    return found


def stage(plan: Plan, weight: int) -> tuple[StageOperator, dict[str, Any]]:
    operator = StageOperator(plan=plan, flow="rollout", step=step(weight), task_id=f"canary_{weight}")
    dag_run = SimpleNamespace(run_type="asset_triggered")
    context = {
        "params": {},
        "run_id": "r1",
        "dag": SimpleNamespace(dag_id="p__rollout"),
        "dag_run": dag_run,
        "ti": None,
    }
    return operator, context


def begin(plan: Plan, weight: int) -> Any:
    operator, context = stage(plan, weight)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    return deferred.value.trigger


def serve_old(documents: Documents) -> None:
    moves.promote(documents, "m", OLD, expected=0, by="somebody", reason="first")


def now(documents: Documents) -> endpoints.EndpointGeneration:
    found = endpoints.latest(documents, "m")
    assert found is not None
    return found


def test_the_first_version_goes_straight_in(plan: Plan, documents: Documents) -> None:
    begin(plan, 10)
    assert (now(documents).number, now(documents).stable, now(documents).canary) == (1, NEW, None)
    begin(plan, 100)
    assert now(documents).number == 1


def test_stages_give_shares_and_a_retry_adopts_its_own(plan: Plan, documents: Documents) -> None:
    serve_old(documents)
    first, again = begin(plan, 10), begin(plan, 10)
    assert first.number == again.number == 2
    assert (now(documents).canary, now(documents).weight) == (NEW, 10)
    begin(plan, 100)
    assert (now(documents).stable, now(documents).canary, now(documents).replaced) == (NEW, None, OLD)


def test_at_once_passes_over_the_canary(plan: Plan, documents: Documents) -> None:
    serve_old(documents)
    operator, context = stage(plan, 10)
    context["params"] = {"at_once": True}
    assert operator.execute(context)["stage"] == 10
    assert now(documents).number == 1
    operator, context = stage(plan, 100)
    context["params"] = {"at_once": True}
    with pytest.raises(TaskDeferred):
        operator.execute(context)
    assert (now(documents).number, now(documents).stable) == (2, NEW)


def test_a_bad_stage_goes_back_and_is_not_begun_again(plan: Plan, documents: Documents) -> None:
    serve_old(documents)
    begin(plan, 10)
    operator, context = stage(plan, 10)
    with pytest.raises(AirflowFailException, match="rolled back: errors"):
        operator.judged(context, {"state": "fail", "reasons": ["errors"]})
    assert (now(documents).stable, now(documents).canary) == (OLD, None)
    with pytest.raises(AirflowFailException, match="TW563"):  # killed before it could say so, and retried
        operator.execute(context)
    assert now(documents).canary is None
    reason = documents.get("runs/p/rollout.r1/requests/canary_10-000000000000.error.json")
    assert reason is not None
    assert b"TW563" in reason


def test_an_endpoint_that_somebody_moved_is_left_alone(plan: Plan, documents: Documents) -> None:
    serve_old(documents)
    begin(plan, 10)
    moves.abort_canary(documents, "m", expected=2, by="a person", reason="looks odd")
    operator, context = stage(plan, 10)
    with pytest.raises(AirflowFailException, match="a person: looks odd"):
        operator.execute(context)
    assert now(documents).number == 3


def test_a_passed_stage_says_what_was_seen(plan: Plan, documents: Documents) -> None:
    serve_old(documents)
    begin(plan, 10)
    operator, context = stage(plan, 10)
    told = operator.judged(context, {"state": "pass", "reasons": ["all well"]})
    assert told == {"stage": 10, "digest": NEW, "version": "2", "judgement": "all well"}


def test_one_that_another_writer_overtakes_fails_for_good(
    plan: Plan, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_old(documents)
    seen = now(documents)
    moves.promote(documents, "m", "c" * 64, expected=1, by="a person", reason="in between")
    monkeypatch.setattr(endpoints, "latest", lambda *_: seen)
    operator, context = stage(plan, 10)
    with pytest.raises(AirflowFailException, match="TW567"):
        operator.execute(context)


def test_going_back_to_the_stable_one_removes_a_canary_that_was_left_behind(plan: Plan, documents: Documents) -> None:
    moves.promote(documents, "m", NEW, expected=0, by="somebody", reason="first")
    moves.promote(documents, "m", OLD, expected=1, by="a run that is gone", reason="10 %", weight=10)
    begin(plan, 10)
    assert (now(documents).number, now(documents).stable, now(documents).canary) == (3, NEW, None)


def released(plan: Plan, states: dict[str, str]) -> None:
    instance = SimpleNamespace(get_task_states=lambda **which: {which["run_ids"][0]: states})
    context: Any = {"params": {}, "run_id": "r1", "dag": SimpleNamespace(dag_id="p__rollout"), "ti": instance}
    last = PlanStep(id="release", kind="release", every_run=True)
    ReleaseOperator(plan=plan, flow="rollout", step=last, task_id="release").execute(context)


def test_the_canary_of_a_rollout_that_is_cancelled_goes(plan: Plan, documents: Documents) -> None:
    serve_old(documents)
    begin(plan, 10)
    with pytest.raises(AirflowFailException, match="see canary_10"):
        released(plan, {"select": "success", "canary_10": "failed", "release": "running"})
    assert (now(documents).stable, now(documents).canary) == (OLD, None)
    assert now(documents).reason == "the run has failed: see canary_10"
    assert leases.current(documents, "endpoint-m") is None


def test_the_canary_of_another_is_left_alone(plan: Plan, documents: Documents) -> None:
    serve_old(documents)
    moves.promote(documents, "m", "c" * 64, expected=1, by="a person", reason="10 %", weight=10)
    with pytest.raises(AirflowFailException):
        released(plan, {"select": "failed"})
    assert now(documents).canary == "c" * 64
