"""The task that makes an endpoint's own server: real lake, hook and client, against an API on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred
from tests.tradewind.servers.fake import Api, opened

from tradewind.operators.serve import ServeOperator
from tradewind.operators.triggers import LeaseTrigger
from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind.plan.request import Run
from tradewind.servers.watch import ServerWatch
from tradewind_runtime import leases
from tradewind_runtime.contract.request import StepResult, Verdict
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import moves

LEASE = "endpoint-m"
KINDS = ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with opened(tmp_path) as found:
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", found.connection)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the client keeps what it knows of a cluster
        yield found


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    own = {"image": "r/serving:1", "replicas": {"min": 2, "max": 3}, "patience": 77}
    serve = PlanStep(id="serve", kind="serve", when="select", config={"endpoint": "m", "own": own})
    dag = PlanDag(dag_id="p__rollout", flow="rollout", steps=(PlanStep(id="select", kind="select"), serve))
    return Plan(
        pipeline="p", profile="cluster", file="p.yaml", lake=f"file://{tmp_path}/a lake", pool="heavy", model="m",
        kubernetes={"connection": "cluster", "namespace": "ns"}, dags=(dag,),
    )  # fmt: skip


@pytest.fixture
def documents(plan: Plan) -> Documents:
    """Of a run whose challenger is wanted."""
    return selected(plan)


def selected(plan: Plan, verdict: Verdict | None = None) -> Documents:
    found = Documents(plan.lake)
    run = Run(plan, "rollout", "r1", found)
    request = run.request(plan.dags[0].steps[0])
    moment = "2026-01-01T00:00:00Z"
    result = StepResult(
        fingerprint=request.fingerprint, step="select", id="select", pipeline="p", run_id=run.key, verdict=verdict,
        started=moment, finished=moment,
    )  # fmt: skip
    found.create_model(request.result_path, result)
    run.record(request)
    return found


def task(plan: Plan, run_id: str = "r1", **own: Any) -> tuple[ServeOperator, Any]:
    step = plan.dags[0].steps[1]
    step = step.model_copy(update={"config": step.config | {"own": step.config["own"] | own}})
    ti = SimpleNamespace(get_dagrun_state=lambda **_: "running")
    context = {"params": {}, "run_id": run_id, "dag": SimpleNamespace(dag_id="p__rollout"), "ti": ti}
    return ServeOperator(plan=plan, flow="rollout", step=step, task_id="serve"), context


def deferred(plan: Plan, run_id: str = "r1", **own: Any) -> TaskDeferred:
    operator, context = task(plan, run_id, **own)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    return caught.value


def test_the_objects_are_applied_and_waited_for(plan: Plan, documents: Documents, api: Api) -> None:
    found = deferred(plan)
    assert api.applied == [(kind, "serve-m") for kind in KINDS]
    deployment = api.objects["deployments", "serve-m"]
    assert deployment["metadata"]["namespace"] == "ns"
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert f"--lake={plan.lake}" in container["args"]
    assert found.method_name == "came"
    assert isinstance(found.trigger, ServerWatch)
    told = found.trigger.serialize()[1]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert dict(part.split("=") for part in told.pop("selector").split(",")).items() <= labels.items()
    assert told == {"connection": "cluster", "namespace": "ns", "kind": "deployment", "name": "serve-m",
                    "replicas": 2, "ready": False, "patience": 77}  # fmt: skip


def test_a_server_that_has_something_to_serve_must_answer(plan: Plan, documents: Documents, api: Api) -> None:
    moves.promote(documents, "other", "a" * 64, expected=0, by="somebody", reason="first")
    assert not deferred(plan).trigger.ready
    moves.promote(documents, "m", "a" * 64, expected=0, by="somebody", reason="first")
    assert deferred(plan).trigger.ready


def test_kserve_is_asked_for_by_its_own_object(plan: Plan, documents: Documents, api: Api) -> None:
    trigger = deferred(plan, kind="kserve", replicas={"min": 0, "max": 1}).trigger
    assert api.applied == [("InferenceService", "serve-m")]
    assert (trigger.kind, trigger.replicas) == ("kserve", 0)


def test_what_came_is_told(plan: Plan, documents: Documents) -> None:
    operator, context = task(plan)
    assert operator.came(context, {"up": 2, "why": ""}) == {"server": "serve-m", "replicas": 2}


def test_what_did_not_come_fails_the_task_with_the_reason(plan: Plan, documents: Documents) -> None:
    """A retry may help: a node may come, a Secret be made."""
    operator, context = task(plan)
    with pytest.raises(
        AirflowException, match=r"(?s)TW600.*'m' does not come up: its pod is sad.*--selector"
    ) as caught:
        operator.came(context, {"up": 1, "why": "its pod is sad"})
    assert not isinstance(caught.value, AirflowFailException)


def test_no_server_is_made_for_a_version_that_is_not_wanted(plan: Plan, api: Api) -> None:
    documents = selected(plan, Verdict(passed=False, reasons=("rolled out before",)))
    operator, context = task(plan)
    with pytest.raises(AirflowSkipException, match="select: rolled out before"):
        operator.execute(context)
    assert not api.applied
    assert leases.current(documents, LEASE) is None, "a skipped run gives it back"


def test_the_rollouts_lease_is_held_while_it_waits(plan: Plan, documents: Documents, api: Api) -> None:
    deferred(plan)
    lease = leases.current(documents, LEASE)
    assert lease is not None
    assert (lease.holder, lease.run) == ("p__rollout", "r1")


def test_while_another_run_holds_the_lease_nothing_is_made(plan: Plan, documents: Documents, api: Api) -> None:
    held = leases.acquire(documents, LEASE, "p__rollout", "another", lambda _: False)
    assert held is not None
    waits = deferred(plan)
    assert isinstance(waits.trigger, LeaseTrigger)
    assert (waits.method_name, api.applied) == ("resume", [])
    leases.release(documents, held)
    operator, context = task(plan)
    with pytest.raises(TaskDeferred) as caught:
        operator.resume(context)
    assert isinstance(caught.value.trigger, ServerWatch)
    assert len(api.applied) == 4


def test_a_retry_after_a_kill_applies_the_same_and_waits_for_the_same(
    plan: Plan, documents: Documents, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(ServeOperator, "_wait", killed)
        operator, context = task(plan)
        with pytest.raises(KeyboardInterrupt):
            operator.execute(context)
    before = dict(api.objects)
    first, again = deferred(plan), deferred(plan)
    assert api.objects == before
    assert len(api.applied) == 12
    assert first.trigger.serialize() == again.trigger.serialize()
    lease = leases.current(documents, LEASE)
    assert lease is not None
    assert lease.number == 1


def test_what_kubernetes_refuses_fails_for_good_and_what_it_cannot_do_now_is_tried_again(
    plan: Plan, documents: Documents, api: Api
) -> None:
    operator, context = task(plan)
    api.refusal = (403, "deployments is forbidden: no right")
    with pytest.raises(AirflowFailException, match=r"(?s)TW601.*Deployment serve-m.*no right"):
        operator.execute(context)
    api.refusal = (503, "later")
    with pytest.raises(AirflowException, match="TW601") as caught:
        operator.execute(context)
    assert not isinstance(caught.value, AirflowFailException)
