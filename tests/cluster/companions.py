"""A step whose companions are pods: a namespace with the chart's rights and policies, and a lake that its pods reach.

No Airflow: the pods are those that it would start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.cluster.policies import enforced, ways_out
from tests.helm import chart
from tests.servers import buckets
from tests.servers.kubernetes import parts
from tests.servers.kubernetes.cluster import Cluster
from tests.tradewind_runtime.learnable import SPLIT, archived, stored, window

from tradewind.dev.running import start
from tradewind.dev.servers.s3 import S3
from tradewind_runtime.connections import Connection, variable
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.contract.resources import Resources
from tradewind_runtime.lake import Lake
from tradewind_runtime.launchers.exchange import ERROR, Exchange, beside
from tradewind_runtime.launchers.pod import PodSettings, pod, pod_name

NAMESPACE, S3_ID, LAKE = "companions", "s3_default", "s3://companions/lake"
SMALL = Resources(cpu=0.3, memory="900Mi")
SETTINGS = PodSettings(namespace=NAMESPACE, secrets={S3_ID: "connections/s3"}, scratch="300Mi", grace=2)
TEAM = {
    "name": "companions", "namespace": NAMESPACE, "create": True,
    "pipelines": [{"name": "p", "companions": True}, {"name": "q"}],
}  # fmt: skip
KINDS = ("ServiceAccount", "Role", "RoleBinding", "NetworkPolicy")


@dataclass(frozen=True)
class Place:
    """Where they run."""

    cluster: Cluster
    image: str
    lake: Lake
    lake_port: int
    resources: Resources

    def start(self, request: StepRequest, attempt: int = 1) -> str:
        """Its pod, as Airflow would start it; the pod's name."""
        Exchange(request, self.lake.documents).begin()
        body = pod(request, SETTINGS, image=self.image, resources=self.resources, attempt=attempt)
        self.cluster.apply(body)
        return pod_name(request, attempt)

    def ended(self, name: str, seconds: float = 240) -> None:
        """Wait for a pod's end."""
        path = "jsonpath={.status.phase}"
        self.cluster.until(
            lambda: self.kubectl("get", "pod", name, "--output", path) in ("Succeeded", "Failed"), name, seconds=seconds
        )

    def result(self, request: StepRequest) -> StepResult:
        found = Exchange(request, self.lake.documents).result()
        assert found is not None, self.lake.documents.get(beside(Exchange(request, self.lake.documents).path, ERROR))
        return found

    def error(self, request: StepRequest) -> StepError:
        return Exchange(request, self.lake.documents).reason("left nothing")

    def table(self, rows: pa.Table) -> DatasetRef:
        """In the lake."""
        return stored(self.lake, rows)

    def request(
        self, step: str, features: DatasetRef, function: str, more: dict[str, Any], **modules: str
    ) -> StepRequest:
        """Of a step, with user code: modules' texts, and module:function."""
        config = {"label": "label", "exclude": ["key"], "function": function} | more.pop("train", {})
        body: dict[str, Any] = {
            "step": step, "id": step, "pipeline": "p", "run_id": "r1", "lake": LAKE, "window": window(),
            "config": {"train": config, "split": SPLIT} | more, "settings": {"threads": 1, "checkpoint_seconds": 0},
            "connections": {"lake": S3_ID}, "inputs": {"features": features},
            "code": archived(self.lake.documents, **modules),
        }  # fmt: skip
        return StepRequest(**body)

    def step_of(self, folder: str) -> int:
        """The highest that documents of a folder begin with, as those of checkpoints do."""
        found = [int(Path(path).name.partition("-")[0]) for path in self.lake.documents.names(folder)]
        return max(found, default=0)

    def companions(self, phase: str = "Running") -> list[str]:
        """Names of those that are there."""
        found = self.cluster.get("pods", "--namespace", NAMESPACE, "--selector", "tradewind.dev/companion=true")
        return [one["metadata"]["name"] for one in found["items"] if one["status"]["phase"] == phase]

    def kubectl(self, *words: str) -> str:
        return self.cluster.kubectl("--namespace", NAMESPACE, *words)

    def nothing_left(self) -> float:
        """Seconds until there is neither a Job nor a companion."""
        chosen = ("--namespace", NAMESPACE, "--selector", "tradewind.dev/companion")
        return self.cluster.until(lambda: not self.cluster.get("pods,jobs", *chosen)["items"], "all is gone")


@contextmanager
def opened(cluster: Cluster, image: str, folder: Path, resources: Resources = SMALL) -> Iterator[Place]:
    """It goes with whoever opened it; the cluster holds to the chart's policies."""
    (folder / "s3").mkdir()
    (folder / "policies").mkdir()
    with (
        start(S3.at(folder / "s3", host=parts.MASTER)) as running,
        cluster.lent(NAMESPACE),
        enforced(cluster, folder / "policies", NAMESPACE),
    ):
        given = {"teams": [TEAM], "networkPolicy": ways_out(running.server.ports["s3"])}
        made = chart.rendered("small", given, release=NAMESPACE)
        cluster.apply(*(one for one in made if one["kind"] == "Namespace"))
        cluster.apply(*(d for d in made if d["kind"] in KINDS and d["metadata"].get("namespace") == NAMESPACE))
        text = running.server.connections()[S3_ID]
        buckets.make(running.server, "companions")
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "connections", "namespace": NAMESPACE}}
        cluster.apply(secret | {"stringData": {"s3": text}})
        os.environ[variable(S3_ID)] = text  # for what is done here
        lake = Lake(LAKE, Connection.parse(S3_ID, text))
        yield Place(cluster, image, lake, running.server.ports["s3"], resources)
        del os.environ[variable(S3_ID)]
