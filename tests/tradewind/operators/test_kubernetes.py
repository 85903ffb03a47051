"""A step in a pod: real operator, trigger and client, against an API on the loopback."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred

from tradewind.operators.kubernetes import PodStepOperator
from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind_runtime.contract.pins import Pins
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.usage import Usage
from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers.exchange import USAGE, beside

NOW = "2026-01-01T00:00:00Z"
IMAGE = "registry.example.com/tradewind/steps@sha256:" + "0" * 64


class TaskInstance(SimpleNamespace):
    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


@pytest.fixture
def make(tmp_path):
    """A task of one step, and the context of a run."""

    def make(step: PlanStep, settings: dict[str, Any] | None = None) -> tuple[PodStepOperator, dict[str, Any]]:
        full = Plan(
            pipeline="flight-delays", profile="cluster", file="f.yaml", lake=f"file://{tmp_path}/lake", pool="p",
            kubernetes=settings or {"namespace": "ns"}, environments={"steps": {"image": IMAGE}},
            dags=(PlanDag(dag_id="flight-delays", flow="train", steps=(step,)),),
        )  # fmt: skip
        ti = TaskInstance(
            dag_id="flight-delays", task_id=step.id, run_id="r", map_index=-1, try_number=1, xcoms={},
            start_date=datetime.now(UTC),
        )  # fmt: skip
        context = {"ti": ti, "run_id": "manual__1", "params": {}, "dag": SimpleNamespace(dag_id="flight-delays")}
        task = PodStepOperator(task_id=step.id, plan=full, flow="train", step=step)
        task.config_file = str(tmp_path / "kubeconfig")
        return task, context

    return make


#: A real step that needs no server, in a run that has its window.
STEP = PlanStep(id="look", kind="pin", windowed=True, every_run=True)


def pinned(tmp_path, run_id: str = "manual__1") -> Documents:
    documents = Documents(f"file://{tmp_path}/lake")
    window = Window(start=datetime(2013, 1, 1, tzinfo=UTC), end=datetime(2013, 1, 2, tzinfo=UTC))
    pins = Pins(pipeline="flight-delays", run_id=run_id, created=datetime.now(UTC), window=window)
    documents.create_model(Pins.path("flight-delays", run_id), pins)
    return documents


def run(task: PodStepOperator, context: dict[str, Any]) -> None:
    """Execute, let the trigger watch, and come back, as Airflow does."""
    try:
        task.execute(context)
    except TaskDeferred as deferred:
        resume(task, context, deferred)


def resume(task: PodStepOperator, context: dict[str, Any], deferred: TaskDeferred) -> None:
    event = asyncio.run(_first(deferred.trigger))
    getattr(task, deferred.method_name)(context, event.payload)


async def _first(trigger: Any) -> Any:
    async for event in trigger.run():
        return event
    raise AssertionError


def test_a_pod_that_leaves_its_result_is_a_success(cluster, make, tmp_path):
    documents = pinned(tmp_path)
    task, context = make(STEP)
    run(task, context)
    told = context["ti"].xcoms["return_value"]
    assert told["facts"]["pins"]["run_id"] == "manual__1"
    assert documents.get("runs/flight-delays/manual__1/results/look") == told["result"].encode()
    assert told["usage"]["memory_peak"] > 10_000_000
    assert cluster.deleted == [cluster.created[0]["metadata"]["name"]]


def test_a_containers_end_is_enough_whatever_the_pods_phase(cluster, make, tmp_path):
    """The phase follows seconds later; here it never does."""
    pinned(tmp_path)
    cluster.phase_after_end = "Running"
    task, context = make(STEP)
    run(task, context)
    assert context["ti"].xcoms["return_value"]["facts"]
    assert not cluster.pods


def test_a_pod_that_cannot_be_deleted_harms_no_result(cluster, make, tmp_path):
    pinned(tmp_path)
    cluster.denied.add("delete")
    task, context = make(STEP)
    run(task, context)
    assert context["ti"].xcoms["return_value"]["facts"]
    assert cluster.pods


def test_a_result_that_is_there_starts_no_pod(cluster, make, tmp_path):
    pinned(tmp_path)
    run(*make(STEP))
    task, context = make(STEP)
    run(task, context)
    assert len(cluster.created) == 1
    assert context["ti"].xcoms["return_value"]["adopted_from"] == "manual__1"


def test_exit_code_0_without_a_result_is_a_failure(cluster, make, tmp_path):
    pinned(tmp_path)
    cluster.fate = "lies"
    with pytest.raises(AirflowException, match=r"TW590.*exit code 0 and left no result"):
        run(*make(STEP))
    assert not cluster.pods


def test_a_pod_lost_after_its_result_is_a_success(cluster, make, tmp_path):
    pinned(tmp_path)
    cluster.fate = "vanishes"
    task, context = make(STEP)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    cluster.pods.clear()
    resume(task, context, deferred.value)
    assert context["ti"].xcoms["return_value"]["facts"]


def test_a_pod_lost_before_its_result_is_a_failure_worth_a_retry(cluster, make, tmp_path):
    pinned(tmp_path)
    cluster.fate = "hangs"
    task, context = make(STEP)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    cluster.pods.clear()
    with pytest.raises(AirflowException, match=r"TW598.*was deleted while it ran") as failure:
        resume(task, context, deferred.value)
    assert not isinstance(failure.value, AirflowFailException)


def test_the_steps_own_reason_is_told_and_decides_about_a_retry(cluster, make, tmp_path):
    Documents(f"file://{tmp_path}/lake")
    with pytest.raises(AirflowFailException, match="TW514"):  # no window: doing it again cannot help
        run(*make(STEP.model_copy(update={"windowed": False})))
    assert not cluster.pods


def test_memory_that_ran_out_is_said(cluster, make, tmp_path):
    pinned(tmp_path)
    cluster.fate = "oom"
    with pytest.raises(AirflowException, match=r"TW596.*killed for its memory, limit 2Gi(.|\n)*after_oom"):
        run(*make(STEP))


def test_a_try_after_one_that_ran_out_of_memory_gets_more(cluster, make, tmp_path):
    pinned(tmp_path)
    cluster.fate = "oom"
    step = STEP.model_copy(update={"resources": {"memory": "1Gi", "after_oom": 1.5}})
    for _ in range(2):
        with pytest.raises(AirflowException, match="TW596"):
            run(*make(step))
    cluster.fate = "runs"
    run(*make(step))
    limits = [pod["spec"]["containers"][0]["resources"]["limits"]["memory"] for pod in cluster.created]
    assert limits == ["1Gi", "1536Mi", "2304Mi"]


def test_the_peak_of_what_ran_out_of_memory_is_said(cluster, make, tmp_path):
    documents = pinned(tmp_path)
    cluster.fate = "hangs"
    task, context = make(STEP)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    used = Usage(seconds=9, cpu_mean=0.5, cpu_peak=1, cpu_limit=1, memory_peak=2000 << 20, memory_limit=2 << 30)
    (path,) = [name for name in documents.names("runs") if "/requests/" in name]
    documents.put(beside(path, USAGE), used.model_dump_json().encode())  # as the step has left it
    (pod,) = cluster.pods.values()
    pod["status"]["phase"] = "Failed"
    (container,) = pod["status"]["containerStatuses"]
    end = {"exitCode": 137, "reason": "OOMKilled", "startedAt": NOW, "finishedAt": NOW}
    container["state"] = {"terminated": end}
    with pytest.raises(AirflowException, match=r"TW596.*limit 2Gi, peak 2Gi"):
        resume(task, context, deferred.value)


def target(reason: str) -> list[dict[str, str]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason}]


def preempted(cluster, make, settings=None):
    """A task whose pod had to make room, with what it waits for."""
    cluster.fate = "hangs"
    task, context = make(STEP, settings)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    (pod,) = cluster.pods.values()
    pod["status"] |= {"phase": "Failed", "conditions": target("PreemptionByScheduler")}
    cluster.fate = "runs"
    return task, context, deferred.value


def test_a_pod_that_makes_room_is_no_failure_and_another_goes_on(cluster, make, tmp_path):
    pinned(tmp_path)
    task, context, deferred = preempted(cluster, make)
    with pytest.raises(TaskDeferred) as again:
        resume(task, context, deferred)
    resume(task, context, again.value)
    first, second = (pod["metadata"] for pod in cluster.created)
    assert first["name"] != second["name"]
    assert first["labels"]["try_number"] == second["labels"]["try_number"] == "1"
    assert context["ti"].xcoms["return_value"]["facts"]
    assert not cluster.pods


def test_what_a_pod_said_before_it_made_room_stays(cluster, make, tmp_path, capsys):
    """Airflow's triggerer begins a task's file anew each time that it waits: what the first pod said was lost."""
    pinned(tmp_path)
    task, context, deferred = preempted(cluster, make)
    cluster.logs[deferred.trigger.pod_name] = f"{NOW} epoch 1\n{NOW[:-2]}1Z epoch 2\n"
    event = asyncio.run(_first(deferred.trigger)).payload
    capsys.readouterr()
    with pytest.raises(TaskDeferred):
        getattr(task, deferred.method_name)(context, event)
    assert re.findall(r"epoch \d", capsys.readouterr().out) == ["epoch 1", "epoch 2"]


def test_room_is_not_made_for_ever(cluster, make, tmp_path):
    pinned(tmp_path)
    task, context, deferred = preempted(cluster, make, {"namespace": "ns", "disruptions": 0})
    with pytest.raises(AirflowException, match=r"TW598.*pre-empted by a pod of higher priority"):
        resume(task, context, deferred)
    assert len(cluster.created) == 1


def test_after_a_lost_node_the_next_try_goes_elsewhere(cluster, make, tmp_path):
    pinned(tmp_path)
    cluster.fate = "hangs"
    task, context = make(STEP)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    (pod,) = cluster.pods.values()
    pod["spec"]["nodeName"] = "node-a"
    pod["status"]["conditions"] = target("DeletionByTaintManager")  # and its container runs, for all that is known
    with pytest.raises(AirflowException, match=r"TW598.*no longer answers \(node-a\)") as failure:
        resume(task, context, deferred.value)
    assert not isinstance(failure.value, AirflowFailException)
    assert not cluster.pods
    cluster.fate = "runs"
    run(*make(STEP))
    wishes = cluster.created[-1]["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wishes[0]["preference"]["matchExpressions"][0] == {
        "key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node-a"],
    }  # fmt: skip


def test_the_next_try_finds_the_pod_that_still_runs(cluster, make, tmp_path):
    pinned(tmp_path)
    cluster.fate = "hangs"
    task, context = make(STEP)
    with pytest.raises(TaskDeferred):
        task.execute(context)  # and the worker dies
    task, context = make(STEP)
    context["ti"].try_number = 2
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    assert len(cluster.created) == 1
    assert deferred.value.trigger.pod_name == cluster.created[0]["metadata"]["name"]


def test_cancelling_deletes_the_pod(cluster, make, tmp_path):
    pinned(tmp_path)
    cluster.fate = "hangs"
    task, context = make(STEP)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    task.on_kill()
    assert not cluster.pods
    assert deferred.value.trigger.on_kill_action.value == "delete_pod"


def test_a_step_that_the_gate_refused_is_skipped(cluster, make, tmp_path):
    pinned(tmp_path)
    task, context = make(STEP.model_copy(update={"when": "evaluate"}))
    with pytest.raises(AirflowSkipException, match="evaluate"):
        run(task, context)
    assert not cluster.created


def test_a_connection_without_a_secret_fails_before_a_pod_starts(cluster, make, tmp_path):
    pinned(tmp_path)
    with pytest.raises(AirflowFailException, match=r"TW592.*kafka_default"):
        run(*make(STEP.model_copy(update={"connections": {"source": "kafka_default"}})))
    assert not cluster.created


def test_what_the_profile_and_the_yaml_ask_for_reaches_kubernetes(cluster, make, tmp_path):
    pinned(tmp_path)
    settings = {"namespace": "ns", "node_selector": {"pool": "gpu"}, "image_pull_secrets": ["registry"]}
    task, context = make(STEP.model_copy(update={"resources": {"cpu": 2, "memory": "1Gi", "gpu": 1}}), settings)
    run(task, context)
    spec = cluster.created[0]["spec"]
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["tolerations"][0] == {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert spec["containers"][0]["resources"]["limits"] == {"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "1"}


def test_an_image_that_the_step_asks_for_is_its_environment(cluster, make, tmp_path):
    pinned(tmp_path)
    settings = {"namespace": "ns", "images": ["registry.example.com/ml/"]}
    asked = {"image": "registry.example.com/ml/train:2", "spot": False}
    task, context = make(STEP.model_copy(update={"resources": asked, "computes": True}), settings)
    run(task, context)
    assert cluster.created[0]["spec"]["containers"][0]["image"] == asked["image"]
    assert task.exchange(task.run_of(context)).request.environment == asked["image"]


def test_what_the_profile_does_not_allow_starts_no_pod(cluster, make, tmp_path):
    pinned(tmp_path)
    with pytest.raises(AirflowFailException, match=r"TW163.*image"):
        run(*make(STEP.model_copy(update={"resources": {"image": "registry.example.com/ml/train:2"}})))
    assert not cluster.created
