"""A stage whose replay is a pod: real operator and client, against an API on the loopback; no model server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from tests.tradewind.operators.conftest import Cluster
from tests.tradewind.operators.test_kubernetes import IMAGE, TaskInstance
from tests.tradewind.operators.test_stage import NEW, OLD, now, selected, serve_old, step

from tradewind.operators.stage_pod import PodStageOperator
from tradewind.operators.triggers import StageTrigger
from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind.pods.watch import PodWatch
from tradewind_runtime.documents import Documents

URL = "http://serve-m.ns.svc"
LITTLE = {"state": "replay", "reasons": ["stable answered 0 and canary 0 of 1 each"]}


def stage(weight: int = 10) -> PlanStep:
    plain = step(weight)
    config = plain.config | {"server": URL, "sleeps": True}
    secrets = {"TRADEWIND_SERVING_TOKEN": "callers/token"}
    return plain.model_copy(update={"runner": "kubernetes", "config": config, "secrets": secrets})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    dag = PlanDag(dag_id="p__rollout", flow="rollout", steps=(PlanStep(id="select", kind="select"), stage()))
    return Plan(
        pipeline="p", profile="cluster", file="p.yaml", lake=f"file://{tmp_path}/a lake", pool="heavy", model="m",
        kubernetes={"namespace": "ns", "resources": {"replay": {"cpu": 0.25}}},
        environments={"steps": {"image": IMAGE}}, dags=(dag,),
    )  # fmt: skip


@pytest.fixture
def documents(plan: Plan) -> Documents:
    return selected(plan)


@pytest.fixture
def task(plan: Plan, tmp_path: Path, cluster: Cluster) -> tuple[PodStageOperator, dict[str, Any]]:
    ti = TaskInstance(dag_id="p__rollout", task_id="canary_10", run_id="r", map_index=-1, try_number=1, xcoms={})
    dag = type("Dag", (), {"dag_id": "p__rollout"})
    operator = PodStageOperator(plan=plan, flow="rollout", step=stage(), task_id="canary_10")
    operator.config_file = str(tmp_path / "kubeconfig")
    return operator, {"ti": ti, "run_id": "r1", "params": {}, "dag": dag, "dag_run": None}


def deferred(call: Any, *args: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        call(*args)
    return caught.value


def replayed(task: tuple[PodStageOperator, dict[str, Any]]) -> TaskDeferred:
    """The stage has begun, and too little was asked."""
    operator, context = task
    assert isinstance(deferred(operator.execute, context).trigger, StageTrigger)
    return deferred(operator.judged, context, LITTLE)


async def _first(trigger: Any) -> Any:
    async for event in trigger.run():
        return event.payload
    raise AssertionError


def test_a_stage_that_is_judged_by_traffic_starts_no_pod(task, documents: Documents, cluster: Cluster) -> None:
    serve_old(documents)
    operator, context = task
    waits = deferred(operator.execute, context)
    assert waits.trigger.sleeps
    told = operator.judged(context, {"state": "pass", "reasons": ["all well"]})
    assert told == context["ti"].xcoms["return_value"] == {"stage": 10, "digest": NEW, "version": "2",
                                                           "judgement": "all well"}  # fmt: skip
    assert not cluster.created


def test_the_replays_pod_has_the_url_and_a_reference_to_the_token(task, documents: Documents, cluster: Cluster) -> None:
    serve_old(documents)
    cluster.fate = "hangs"
    waits = replayed(task)
    assert isinstance(waits.trigger, PodWatch)
    (pod,) = cluster.created
    (container,) = pod["spec"]["containers"]
    (token,) = (one for one in container["env"] if one["name"] == "TRADEWIND_SERVING_TOKEN")
    assert token["valueFrom"] == {"secretKeyRef": {"name": "callers", "key": "token"}}
    assert "value" not in token
    assert container["resources"]["limits"]["cpu"] in {"250m", "0.25"}
    assert container["image"] == IMAGE
    (path,) = (one for one in documents.names("runs/p/rollout.r1/requests") if "canary_10_replay" in one)
    request = json.loads(documents.get(path) or b"")
    assert request["config"] == {"endpoint": "m", "requests": 1, "server": URL}


def test_a_replay_that_fails_says_why_and_the_canary_stays_for_the_retry(task, documents, cluster: Cluster) -> None:
    """No replica is there."""
    serve_old(documents)
    operator, context = task
    config = {name: value for name, value in operator.step.config.items() if name != "server"}
    operator.step = operator.step.model_copy(update={"config": config})
    waits = replayed(task)
    with pytest.raises(AirflowException, match="TW569"):
        getattr(operator, waits.method_name)(context, asyncio.run(_first(waits.trigger)))
    assert (now(documents).canary, now(documents).stable) == (NEW, OLD)


def test_a_replay_that_was_done_is_adopted(task, documents: Documents, cluster: Cluster) -> None:
    serve_old(documents)
    operator, context = task
    run = operator.run_of(context)
    deferred(operator.execute, context)
    exchange = operator.exchange(run)
    moment = "2026-01-01T00:00:00Z"
    body = {"fingerprint": exchange.request.fingerprint, "step": "replay", "id": "canary_10_replay", "pipeline": "p",
            "run_id": run.key, "started": moment, "finished": moment, "metrics": {"rows": 3}}  # fmt: skip
    documents.create(exchange.request.result_path, json.dumps(body).encode())
    waits = deferred(operator.judged, context, LITTLE)
    assert isinstance(waits.trigger, StageTrigger)
    assert waits.trigger.replayed
    assert not cluster.created
    after = deferred(operator.trigger_reentry, context, {"name": "gone", "ending": None})
    assert isinstance(after.trigger, StageTrigger)
    assert after.trigger.replayed


def test_a_stage_that_waited_for_its_lease_and_is_passed_over(task, documents: Documents) -> None:
    serve_old(documents)
    operator, context = task
    context["params"] = {"at_once": True}
    operator.resume(context)
    assert context["ti"].xcoms["return_value"]["judgement"] == "passed over: at once was asked for"
