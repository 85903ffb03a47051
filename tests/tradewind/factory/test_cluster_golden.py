"""The flight delays pipeline under the cluster profile: its DAGs, and the pods of two of its steps.

A golden pod is what is really sent to Kubernetes. After a wanted change write them anew:
`TRADEWIND_GOLDEN=write pytest tests/tradewind/factory/test_cluster_golden.py`.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes_validate
import pytest
from airflow.sdk import DAG, AssetOrTimeSchedule
from airflow.serialization.serialized_objects import DagSerialization
from kubernetes.client import ApiClient
from tests.restricted import assert_restricted
from tests.tradewind.plan import small

from tradewind.factory import dags_of
from tradewind.operators.kubernetes import PodStepOperator
from tradewind.operators.pin import PinOperator
from tradewind.operators.step import StepOperator
from tradewind.plan.build import build
from tradewind.plan.code import UserCode
from tradewind.plan.kinds import KINDS
from tradewind.plan.model import Plan
from tradewind.plan.request import Run
from tradewind.profile import Profile, load_profile
from tradewind.spec import load
from tradewind_runtime.contract.pins import Pins
from tradewind_runtime.contract.refs import DatasetRef, Output, ValueRef, Window
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.documents import Documents

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"
KUBERNETES = "1.34"
NOW = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    """The plan of the real YAML and profile; user code only has to be there."""
    project = tmp_path_factory.mktemp("project")
    for path, text in (("include/models/flight_delays.py", "def train(ctx): ...\n"),
                       ("spark_jobs/flight_features.py", "def transform(spark, tables, context): ...\n")):  # fmt: skip
        (project / path).parent.mkdir(parents=True)
        (project / path).write_text(text)
    shutil.copytree(ROOT / "dags" / "pipelines", project / "dags" / "pipelines")
    pipeline = load(project / "dags" / "pipelines" / "flight_delays.yaml", root=project)
    profile = load_profile("cluster", project=ROOT)
    return build(pipeline, profile, UserCode.of(project), file="flight_delays.yaml", commit="c")


@pytest.fixture(scope="module")
def dags(plan) -> dict[str, DAG]:
    return dags_of(plan.model_dump_json(), file=str(ROOT / "flight_delays.py"))


@pytest.fixture
def run(plan, tmp_path) -> Run:
    """A run as far as its training: what came before has left its results."""
    run = Run(
        plan, "train", "scheduled__2013-04-01T00:00:00+00:00", Documents(f"file://{tmp_path}/lake"), {"max_rounds": 200}
    )
    window = Window(start=datetime(2013, 3, 31, tzinfo=UTC), end=NOW)
    ends = {"flights": {"0": 81000}}
    pins = Pins(pipeline=plan.pipeline, run_id=run.key, created=NOW, window=window, sources=ends)
    run.documents.create_model(Pins.path(plan.pipeline, run.key), pins)
    done(run, "transform", features=DatasetRef(table="flight-delays/features", version=7))
    done(run, "tune", best=ValueRef(value={"params": {"max_depth": 6}, "score": 0.7}))
    return run


def done(run: Run, step: str, **outputs: Output) -> None:
    request = StepRequest(step=step, id=step, pipeline=run.plan.pipeline, run_id=run.key, lake=run.plan.lake)
    result = StepResult(
        fingerprint=request.fingerprint, step=step, id=step, pipeline=run.plan.pipeline, run_id=run.key,
        started=NOW, finished=NOW, outputs=outputs,
    )  # fmt: skip
    run.documents.create_model(request.result_path, result)
    run.record(request)


def pod_of(dags: dict[str, DAG], run: Run, step: str) -> tuple[StepRequest, dict[str, Any]]:
    """What the task sends to Kubernetes."""
    task = dags["flight-delays"].get_task(step)
    assert isinstance(task, PodStepOperator)
    request = task.exchange(run).request
    task.ask_for(request, (), attempt=1)
    ti = SimpleNamespace(dag_id="flight-delays", task_id=step, map_index=-1, try_number=1)
    context: Any = {"ti": ti, "run_id": run.run_id, "dag": dags["flight-delays"]}
    pod = task.build_pod_request_obj(context, dry_run=True)
    return request, ApiClient().sanitize_for_serialization(pod)


def settled(request: StepRequest, pod: dict[str, Any]) -> str:
    """A pod without what changes with every edit of user code or release of Airflow."""
    pod["metadata"]["labels"].pop("airflow_version")
    label = pod["metadata"]["labels"]["tradewind.dev/fingerprint"]
    text = json.dumps(pod, indent=2, sort_keys=True) + "\n"
    name = pod["metadata"]["name"]
    for word, stands in ((name[-10:], "UNIQUE"), (label, "LABEL"), (request.fingerprint, "FINGERPRINT"),
                         (request.fingerprint[:12], "FINGERPRINT12")):  # fmt: skip
        text = text.replace(word, stands)
    return text


@pytest.mark.parametrize("step", ["ingest_flights", "train"])
def test_the_pod_is_the_golden_one(dags, run, step):
    request, pod = pod_of(dags, run, step)
    text, golden = settled(request, pod), GOLDEN / f"pod_{step}.json"
    if os.environ.get("TRADEWIND_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text(), "write it anew with TRADEWIND_GOLDEN=write, and look at the difference"


PODS = ["ingest_flights", "ingest_weather", "check_flights", "transform", "tune", "train"]


@pytest.mark.parametrize("step", PODS)
def test_each_pod_is_valid_and_restricted(dags, run, step):
    done(run, f"ingest_{step[6:]}" if step.startswith("check") else "none", rows=DatasetRef(table="t", version=1))
    for name in ("flights", "weather", "planes", "airports"):
        done(run, f"check_{name}", rows=DatasetRef(table=f"flight-delays/{name}", version=1))
    _, pod = pod_of(dags, run, step)
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    assert_restricted(pod["spec"])
    assert pod["spec"]["restartPolicy"] == "Never"
    assert len(pod["metadata"]["name"]) <= 63


def test_no_secret_is_in_a_pod(dags, run):
    _, pod = pod_of(dags, run, "ingest_flights")
    env = pod["spec"]["containers"][0]["env"]
    secret = [item for item in env if item["name"].startswith("AIRFLOW_CONN_")]
    assert [item["name"] for item in secret] == ["AIRFLOW_CONN_KAFKA_DEFAULT", "AIRFLOW_CONN_S3_LAKE"]
    assert all("value" not in item and set(item["valueFrom"]) == {"secretKeyRef"} for item in secret)


def test_the_image_names_the_environment(dags, run, plan):
    request, pod = pod_of(dags, run, "train")
    assert request.environment == plan.environments["steps"]["image"] == pod["spec"]["containers"][0]["image"]


def test_heavy_steps_are_pods_and_light_ones_processes(dags):
    tasks = dags["flight-delays"].task_dict
    pods = {name for name, task in tasks.items() if isinstance(task, PodStepOperator)}
    sources = ("flights", "weather", "planes", "airports")
    assert pods == {f"{kind}_{name}" for kind in ("ingest", "check") for name in sources} | {
        "transform", "tune", "train", "evaluate", "register"
    }  # fmt: skip
    assert isinstance(tasks["pin"], PinOperator)
    assert all(task.deferrable for name, task in tasks.items() if name in pods)


def test_a_task_runs_where_the_plan_says():
    """Under a profile that says kubernetes and nothing else."""
    own = {"serving": {"own": {"image": "i"}}}
    profile = Profile(profile="cluster", runner="kubernetes", environments={"steps": {"image": "i"}}, **own)
    alerts = {"slack": {"channel": "#ml", "connection": "slack_default", "on": ["promotion", "drift"]}}
    everything = small.plan(
        profile, promote=small.BODY["promote"] | {"approval": "human"}, alerts=alerts,
        tune={"hyperopt": {"space": {"C": {"float": [0, 1]}}}},
    )  # fmt: skip
    steps = {f"{dag.dag_id}.{step.id}": step for dag in everything.dags for step in dag.steps}
    assert {step.kind for step in steps.values()} == KINDS.keys() - {"replay"}
    tasks = {
        f"{name}.{task.task_id}": task
        for name, dag in dags_of(everything.model_dump_json(), file=str(ROOT / "p.py")).items()
        for task in dag.tasks
    }
    pods = {name for name, task in tasks.items() if isinstance(task, PodStepOperator)}
    assert pods == {name for name, step in steps.items() if step.runner == "kubernetes"}
    assert {"p.train", "p.check_rows", "p__score.score", "p__rollout.promote"} <= pods


def test_a_rollout_starts_no_pod(dags):
    assert all(isinstance(task, StepOperator) for task in dags["flight-delays__rollout"].tasks)


def test_monitoring_computes_in_pods(dags):
    pods = {task.task_id for task in dags["flight-delays__monitor"].tasks if isinstance(task, PodStepOperator)}
    assert pods == {"ingest_requests", "drift"}


def test_the_dags_are_the_pipelines_own(dags):
    assert set(dags) == {"flight-delays", "flight-delays__rollout", "flight-delays__monitor"}
    train = dags["flight-delays"]
    assert isinstance(train.timetable, AssetOrTimeSchedule) or train.timetable is not None
    assert train.get_task("train").upstream_task_ids >= {"tune"}
    assert train.get_task("register").upstream_task_ids >= {"evaluate"}


def test_airflow_can_store_them(dags):
    for dag in dags.values():
        stored = json.dumps(DagSerialization.to_dict(dag))
        assert "PodStepOperator" in stored or dag.dag_id.endswith("__rollout")
