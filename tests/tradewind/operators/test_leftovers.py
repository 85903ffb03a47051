"""What a run's last task finds of pods: real client and hook, against an API on the loopback."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.providers.cncf.kubernetes.pod_generator import make_safe_label_value
from tests.tradewind.operators.conftest import Cluster

from tradewind.operators.release import ReleaseOperator
from tradewind.plan.model import Plan, PlanDag, PlanStep

RUN = "scheduled__2026-01-01T00:00:00+00:00"
RELEASE = PlanStep(id="release", kind="release", every_run=True)
MINE = {"app.kubernetes.io/managed-by": "tradewind", "dag_id": "p", "run_id": "r1", "task_id": "train"}


@pytest.fixture
def plan(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Plan:
    text = {"conn_type": "kubernetes", "extra": {"kube_config": (tmp_path / "kubeconfig").read_text()}}
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(text))
    return Plan(
        pipeline="p", profile="cluster", file="dags/pipelines/p.yaml", lake=f"file://{tmp_path}/lake", pool="x",
        kubernetes={"connection": "cluster", "namespace": "ns"},
        dags=(PlanDag(dag_id="p", flow="train", steps=(RELEASE,)),),
    )  # fmt: skip


def released(plan: Plan, run: str = "r1") -> None:
    """The run's last task, with no other."""
    states = SimpleNamespace(get_task_states=lambda **_: {run: {}})
    context = {"params": {}, "run_id": run, "dag": SimpleNamespace(dag_id="p"), "ti": states}
    ReleaseOperator(plan=plan, flow="train", step=RELEASE, task_id="release").execute(context)


def there(cluster: Cluster, name: str, **more: str) -> None:
    labels = MINE | {key.replace("managed_by", "app.kubernetes.io/managed-by"): value for key, value in more.items()}
    cluster.pods[name] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}}


def test_those_of_the_run_go_and_no_others(plan: Plan, cluster: Cluster) -> None:
    there(cluster, "ended")
    there(cluster, "another", task_id="check_rows")
    there(cluster, "next-run", run_id="r2")
    there(cluster, "other-flow", dag_id="p__rollout")
    there(cluster, "others", managed_by="people")
    released(plan)
    assert sorted(cluster.deleted) == ["another", "ended"]


def test_a_run_is_found_by_what_airflow_makes_of_its_name(plan: Plan, cluster: Cluster) -> None:
    there(cluster, "ended", run_id=make_safe_label_value(RUN))
    released(plan, RUN)
    assert cluster.deleted == ["ended"]


def test_one_that_has_gone_meanwhile_is_no_failure(
    plan: Plan, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    there(cluster, "ended")
    there(cluster, "later")
    found = cluster.find("dag_id=p")
    monkeypatch.setattr(cluster, "find", lambda _: found)
    del cluster.pods["ended"]
    released(plan)
    assert cluster.deleted == ["later"]


def test_a_cluster_that_is_away_is_told_and_no_failure(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((tmp_path / "kubeconfig").read_text())
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:9"
    text = {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(config)}}
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(text))
    released(plan)
    assert "whether pods are left is not known" in capsys.readouterr().out
