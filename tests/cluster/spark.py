"""The demo's transform in pods, with no Airflow: an S3 beside the cluster, a namespace, an account with its rights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import flights
from tests.cluster.policies import enforced, ways_out
from tests.helm import chart
from tests.servers import buckets
from tests.servers.kubernetes import parts
from tests.servers.kubernetes.cluster import Cluster

from tradewind.dev.running import start
from tradewind.dev.servers.s3 import S3
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.contract.resources import Resources
from tradewind_runtime.lake import Lake
from tradewind_runtime.launchers.exchange import Exchange
from tradewind_runtime.launchers.pod import PodSettings, pod

NAMESPACE = "spark"
SECRET = "connections"
DRIVER = Resources(cpu=0.5, memory="2Gi")
LOCAL = {"master": "local[2]", "driver_memory": "1g"}
#: Spark's way of watching pods wants an etcd that is newer than Debian's; so it only asks for them, more often.
WATCHING = {"spark.kubernetes.executor.enableApiWatcher": "false", "spark.kubernetes.executor.apiPollingInterval": "3s"}
EXECUTORS = {"min": 1, "max": 2, "cpu": 0.5, "memory": "1280Mi"}
PODS = {"master": "k8s://", "driver_memory": "1g", "executors": EXECUTORS, "options": WATCHING}


@dataclass
class Place:
    """Where steps are started by hand."""

    cluster: Cluster
    image: str
    lake: Lake
    lake_port: int
    tables: flights.Tables

    def start(self, run: str, spark: dict[str, Any], job: str | None = None) -> tuple[StepRequest, str]:
        """A pod of the transform; its name too."""
        asked = flights.request(self.lake, self.tables, spark, run=run, job=job, connections={"lake": "s3_lake"})
        settings = PodSettings(namespace=NAMESPACE, secrets={"s3_lake": f"{SECRET}/s3_lake"}, grace=5)
        body = pod(asked, settings, image=self.image, resources=DRIVER)
        Exchange(asked, self.lake.documents).begin()
        self.cluster.apply(body)
        return asked, str(body["metadata"]["name"])

    def finish(self, asked: StepRequest, name: str, *, seconds: float = 900) -> StepResult:
        """What came of it; its pod is taken away, as the operator does."""
        self.cluster.until(lambda: self.phase(name) in {"Succeeded", "Failed"}, f"the end of {name}", seconds=seconds)
        result = Exchange(asked, self.lake.documents).result()
        assert result is not None, self.log(name)
        print(f"{asked.run_id}: {(result.finished - result.started).total_seconds():.1f} s")
        self.delete(name)
        return result

    def phase(self, name: str) -> str:
        """Of a pod."""
        return self.kubectl("get", "pod", name, "--output", "jsonpath={.status.phase}", check=False)

    def log(self, name: str) -> str:
        """The end of what a pod has printed."""
        return self.kubectl("logs", name, "--tail", "60", check=False)

    def delete(self, name: str, *more: str) -> None:
        """End a pod."""
        self.kubectl("delete", "pod", name, "--wait=false", *more)

    def executors(self, run: str, phase: str = "Running") -> list[dict[str, Any]]:
        """Of a run."""
        chosen = f"app.kubernetes.io/component=executor,tradewind.dev/run={run}"
        found = self.cluster.get("pods", "--namespace", NAMESPACE, "--selector", chosen)["items"]
        return [one for one in found if one["status"]["phase"] == phase]

    def pods(self) -> list[str]:
        """All that are left, by their names."""
        return [one["metadata"]["name"] for one in self.cluster.get("pods", "--namespace", NAMESPACE)["items"]]

    def kubectl(self, *words: str, check: bool = True) -> str:
        """In the namespace."""
        return self.cluster.kubectl("--namespace", NAMESPACE, *words, check=check)


@contextmanager
def opened(folder: Path, cluster: Cluster, image: str) -> Iterator[Place]:
    """Bring it up, on a cluster that holds to the chart's policies, and take it down again."""
    with (
        start(S3.at(folder / "s3", host=parts.MASTER)) as running,
        cluster.lent(NAMESPACE),
        enforced(cluster, folder / "policies", NAMESPACE),
    ):
        server = running.server
        buckets.make(server, "lake")
        text = server.connections()["s3_default"]
        lake = Lake("s3://lake/a place", Connection.parse("s3_lake", text))
        cluster.apply(_namespace())
        cluster.apply(*_rights(server.ports["s3"]), _secret(text))
        yield Place(cluster, image, lake, server.ports["s3"], flights.fill(lake))


def _rights(s3: int) -> list[dict[str, Any]]:
    """Of the chart, where a pipeline's Spark may start pods, and reach the lake."""
    team = {"name": "spark", "namespace": NAMESPACE, "pipelines": [{"name": flights.PIPELINE, "executors": True}]}
    found = chart.rendered("small", {"teams": [team], "networkPolicy": ways_out(s3)}, release=NAMESPACE)
    kinds = {"ServiceAccount", "Role", "RoleBinding", "NetworkPolicy"}
    return [one for one in found if one["kind"] in kinds and one["metadata"].get("namespace") == NAMESPACE]


def _namespace() -> dict[str, Any]:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": label}}


def _secret(text: str) -> dict[str, Any]:
    metadata = {"name": SECRET, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"s3_lake": text}}
