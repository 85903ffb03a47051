"""A training in a pod outlives what happens around it: its node, its scheduler, its triggerer, and those before it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.cluster import trouble
from tests.cluster.house import NAMESPACE, ClusterHouse
from tests.servers.kubernetes import parts
from tests.servers.kubernetes.parts import NODES, Node

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
PIPELINE = "waits"


@pytest.fixture(scope="module")
def waits(house: ClusterHouse) -> ClusterHouse:
    """The house with a pipeline whose training takes its time, and keeps each second of it."""
    (house.folder / "include/models/trouble.py").write_text(trouble.MODELS)
    asked = {"cpu": 0.5, "memory": "600Mi"}
    params: dict[str, Any] = {"epochs": "{params.epochs}", "seed": "{params.seed}"}
    house.write(f"{PIPELINE}.yaml", trouble.pipeline(PIPELINE, "wait", retries=2, params=params, resources=asked))
    house.until(lambda: house.dag(PIPELINE), "the DAG")
    house.airflow.unpause(PIPELINE)
    return house


@contextmanager
def training(house: ClusterHouse, run: str, *, epochs: int, ends: str = "success") -> Iterator[dict[str, Any]]:
    """The pod of a run's training, in its third second; in the end all is done and nothing is left."""
    house.trigger(PIPELINE, run, epochs=epochs, seed=run)
    house.cluster.until(lambda: epochs_of(house, run) >= 3, "the training's third epoch", seconds=180)
    (pod,) = house.pods(run=run, step="train")
    yield pod
    states: list[str] = []
    state = house.airflow.follow(PIPELINE, run, lambda task: states.append(f"{task['task_id']} {task['state']}"))
    assert state == ends, states
    house.cluster.until(lambda: not house.pods(run=run), "the end of the run's pods", seconds=60)


def epochs_of(house: ClusterHouse, run: str) -> int:
    """How far its training's pod has come."""
    found = [pod for pod in house.pods(run=run, step="train") if pod["status"]["phase"] == "Running"]
    if not found:
        return 0
    log = house.cluster.kubectl("logs", "--namespace", NAMESPACE, found[0]["metadata"]["name"], check=False)
    return len(re.findall(r"^epoch ", log, re.MULTILINE))


def begins(house: ClusterHouse, run: str, attempt: int = 1) -> list[int]:
    """The epochs that the attempt's pods began at, as the UI shows their logs."""
    return [int(found) for found in re.findall(r"begins at epoch (\d+)", house.log(PIPELINE, run, "train", attempt))]


def tries(house: ClusterHouse, run: str) -> int:
    """How often Airflow has tried the training."""
    (task,) = [task for task in house.airflow.tasks(PIPELINE, run) if task["task_id"] == "train"]
    return int(task["try_number"])


def test_airflow_is_killed_and_the_pod_goes_on(waits: ClusterHouse) -> None:
    with training(waits, "airflow", epochs=30) as pod:
        for part in ("triggerer", "scheduler"):
            waits.kill(part)
        waits.until(
            lambda: waits.airflow.call("GET", "/monitor/health")["triggerer"]["status"] == "healthy", "it is back"
        )
        assert [found["metadata"]["uid"] for found in waits.pods(run="airflow", step="train")] == [
            pod["metadata"]["uid"]
        ]
    assert tries(waits, "airflow") == 1
    log = waits.log(PIPELINE, "airflow", "train", 1)
    missing = [epoch for epoch in range(1, 31) if f"epoch {epoch}'" not in log]
    assert not missing, "the log is whole although nobody watched for a while"


def test_a_pod_of_higher_priority_is_no_failure(waits: ClusterHouse) -> None:
    waits.cluster.apply({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}, "value": 1000,
    })  # fmt: skip
    with training(waits, "priority", epochs=20) as pod:
        waits.cluster.apply(urgent(waits, pod["spec"]["nodeName"]))
        waits.until(lambda: pod["metadata"]["uid"] not in uids(waits, "priority"), "it makes room")
        waits.cluster.kubectl("delete", "pod", "urgent", "--namespace", "default", "--now")
    assert tries(waits, "priority") == 1
    first, second = begins(waits, "priority")
    assert first == 0 < second


def uids(house: ClusterHouse, run: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in house.pods(run=run, step="train")}


def urgent(house: ClusterHouse, node: str) -> dict[str, Any]:
    """A pod that fits on the node only where ours goes."""
    free = int(house.cluster.get("node", node)["status"]["allocatable"]["cpu"]) * 1000 - 250
    wanted = {"cpu": f"{free}m"}
    container = {
        "name": "main",
        "image": parts.PAUSE,
        "imagePullPolicy": "Never",
        "resources": {"requests": wanted},
    }
    spec = {"nodeSelector": {"kubernetes.io/hostname": node}, "priorityClassName": "urgent", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "urgent", "namespace": "default"}, "spec": spec}


def test_cancelling_leaves_no_pod(waits: ClusterHouse) -> None:
    with training(waits, "cancelled", epochs=300, ends="failed"):
        path = f"/dags/{PIPELINE}/dagRuns/cancelled/taskInstances/train"
        waits.airflow.call("PATCH", path, json={"new_state": "failed"})
        gone = waits.until(lambda: not waits.pods(run="cancelled"), "the pod is gone")
        print(f"gone after {gone:.1f} s")


def test_a_lost_node_is_told_and_the_training_goes_on_elsewhere(waits: ClusterHouse) -> None:
    with training(waits, "node", epochs=40) as pod:
        node = named(pod["spec"]["nodeName"])
        waits.cluster.lose(node)
        lost = time.monotonic()
        waits.cluster.until(lambda: tries(waits, "node") == 2, "the next try", seconds=120)
        print(f"given up after {time.monotonic() - lost:.0f} s")
        waits.cluster.until(lambda: epochs_of(waits, "node") >= 1, "the training goes on", seconds=120)
        (again,) = [pod for pod in waits.pods(run="node", step="train") if pod["status"]["phase"] == "Running"]
        assert again["spec"]["nodeName"] != node.name
    waits.cluster.start_node(node)
    waits.cluster.until(lambda: waits.cluster.ready(node.name), "the node is back")
    assert "TW598" in waits.log(PIPELINE, "node", "train", 1)
    assert begins(waits, "node", 2)[0] >= 3


def named(name: str) -> Node:
    return next(node for node in NODES if node.name == name)
