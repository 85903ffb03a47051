"""A run's first look at its cluster: real client and hook, against an API on the loopback."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from tests.tradewind.operators.conftest import Cluster

from tradewind.operators.pin import PinOperator
from tradewind.operators.preflight import preflight
from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind_runtime.contract.errors import TradewindError
from tradewind_runtime.documents import Documents

PIN = PlanStep(id="pin", kind="pin", every_run=True)
INGEST = PlanStep(id="ingest", kind="ingest", runner="kubernetes", connections={"source": "kafka_default"})
TRAIN = PlanStep(id="train", kind="train", runner="kubernetes", resources={"cpu": 2, "memory": "4Gi", "gpu": 1})
NODE = {"metadata": {"name": "big"}, "status": {"allocatable": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}}}
SECRET = ("secrets", "connections")


@pytest.fixture
def plan(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Of two pods, on a cluster that has what they need."""
    text = {"conn_type": "kubernetes", "extra": {"kube_config": (tmp_path / "kubeconfig").read_text()}}
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(text))
    cluster.objects[SECRET] = {"data": {"kafka": "eA=="}}
    cluster.nodes.append(NODE)
    kubernetes = {"connection": "cluster", "namespace": "ns", "secrets": {"kafka_default": "connections/kafka"}}
    return Plan(
        pipeline="p", profile="cluster", file="dags/pipelines/p.yaml", lake=f"file://{tmp_path}/lake", pool="x",
        kubernetes=kubernetes, environments={"steps": {"image": "i:1", "python": sys.executable}},
        dags=(PlanDag(dag_id="p", flow="train", steps=(PIN, INGEST, TRAIN)),),
    )  # fmt: skip


def asked(plan: Plan) -> None:
    preflight(plan, "train", logging.getLogger("task"))


def wrong(plan: Plan) -> list[dict[str, Any]]:
    with pytest.raises(TradewindError) as caught:
        asked(plan)
    shown = ("code", "file", "path", "got")
    return [{name: getattr(problem, name) for name in shown} for problem in caught.value.problems]


def test_all_is_there_and_nothing_is_made(plan: Plan, cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    asked(plan)
    assert [pod["spec"]["containers"][0]["image"] for pod in cluster.dry_runs] == ["i:1", "i:1"]
    assert cluster.created == []
    assert "airflow may start, watch and end pods; pods: 2 would be taken; secrets, claims: connections" in caplog.text


def test_all_that_is_wrong_is_told_at_once(plan: Plan, cluster: Cluster) -> None:
    del cluster.objects[SECRET]
    cluster.nodes[0] = {**NODE, "status": {"allocatable": {"cpu": "1", "memory": "32Gi"}}}
    cluster.refusal = (403, 'error looking up service account ns/tradewind-p: serviceaccount "tradewind-p" not found')
    profile = "profiles/cluster.yaml"
    assert wrong(plan) == [
        {"code": "TW577", "file": profile, "path": "kubernetes.service_account", "got": "tradewind-p"},
        {"code": "TW577", "file": profile, "path": "kubernetes.secrets.kafka_default", "got": "connections"},
        {
            "code": "TW578", "file": "dags/pipelines/p.yaml", "path": "train.resources",
            "got": "cpu 2, memory 4Gi, nvidia.com/gpu 1",
        },
    ]  # fmt: skip


def test_a_key_that_is_not_in_its_secret(plan: Plan, cluster: Cluster) -> None:
    cluster.objects[SECRET] = {"data": {"kafak": "eA=="}}
    assert wrong(plan) == [
        {"code": "TW577", "file": "profiles/cluster.yaml", "path": "kubernetes.secrets.kafka_default", "got": "kafak"}
    ]


def test_rights_that_are_lacking(plan: Plan, cluster: Cluster) -> None:
    cluster.denied |= {"create", "delete"}
    (problem,) = wrong(plan)
    assert (problem["code"], problem["got"]) == ("TW576", "no right to create pods, delete pods")
    assert cluster.dry_runs == []


def test_a_namespace_that_is_not_there_is_all_that_is_said(plan: Plan, cluster: Cluster) -> None:
    cluster.objects.clear()
    assert [problem["code"] for problem in wrong(plan)] == ["TW575"]


def test_what_may_not_be_seen_stops_nothing(plan: Plan, cluster: Cluster) -> None:
    cluster.unseen |= {"namespaces", "secrets", "nodes"}
    cluster.objects.clear()
    asked(plan)


def test_nodes_that_come_are_waited_for(plan: Plan, cluster: Cluster) -> None:
    cluster.nodes[0] = {**NODE, "status": {"allocatable": {}}}
    asked(plan.model_copy(update={"kubernetes": plan.kubernetes | {"autoscaled": True}}))


QUOTA = "exceeded quota: team, requested: limits.cpu=2, used: limits.cpu={used}, limited: limits.cpu={hard}"


def test_a_quota_that_is_used_up_is_waited_for(plan: Plan, cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    cluster.refusal = (403, QUOTA.format(used=3, hard=4))
    asked(plan)
    assert "p.train must wait for others to end: the quota 'team' is used up" in caplog.text


def test_a_quota_that_can_never_be_enough_is_an_error(plan: Plan, cluster: Cluster) -> None:
    cluster.refusal = (403, QUOTA.format(used=0, hard="1500m"))
    assert {problem["code"] for problem in wrong(plan)} == {"TW578"}


def test_no_answer_is_worth_a_retry(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads(json.loads(_text())["extra"]["kube_config"])
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    text = {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(config)}}
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(text))
    with pytest.raises(AirflowException, match="TW575") as caught:
        pin(plan)
    assert not isinstance(caught.value, AirflowFailException)


def test_the_first_task_refuses_before_it_takes_the_lease(plan: Plan, cluster: Cluster) -> None:
    del cluster.objects[SECRET]
    with pytest.raises(AirflowFailException, match="TW577"):
        pin(plan)
    assert list(Documents(plan.lake).names("leases")) == []


def test_a_run_without_pods_asks_no_cluster(plan: Plan, cluster: Cluster) -> None:
    dag = plan.dags[0].model_copy(update={"steps": (PIN, INGEST.model_copy(update={"runner": "process"}))})
    cluster.objects.clear()
    pin(plan.model_copy(update={"dags": (dag,)}))


def _text() -> str:
    return os.environ["AIRFLOW_CONN_CLUSTER"]


def pin(plan: Plan) -> dict[str, Any]:
    context = {
        "params": {"window_start": "2013-06-01T00:00:00Z", "window_end": "2013-06-02T00:00:00Z"}, "run_id": "r1",
        "dag": SimpleNamespace(dag_id="p"), "dag_run": SimpleNamespace(run_type="manual"), "ti": SimpleNamespace(),
    }  # fmt: skip
    step = PIN.model_copy(update={"windowed": True})
    return PinOperator(plan=plan, flow="train", step=step, task_id="pin").execute(context)
