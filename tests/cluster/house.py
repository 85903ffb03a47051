"""A project whose steps run on the test's cluster: Airflow and the servers beside it, on an address that pods reach."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.cluster import spark
from tests.e2e.house import ROOT, House, dev
from tests.helm import chart
from tests.servers import buckets
from tests.servers.kubernetes import parts
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.images import Image
from tests.servers.model_server import PYTHON as SERVING

from tradewind.demo.airflow import Airflow
from tradewind.dev import stack
from tradewind.dev.credentials import credentials
from tradewind.dev.servers.airflow import USER
from tradewind.dev.supervisor import Supervisor
from tradewind_runtime.connections import Connection

#: Those that have a service account.
PIPELINES = ("flight-delays", "breast-cancer", "no-gpu", "no-image", "no-quota", "no-secret", "no-memory", "no-disk",
             "waits", "kills-a", "kills-b", "together", "own-server")  # fmt: skip
MAY_START_PODS = {"together": {"companions": True}, "flight-delays": {"executors": True}}
HEAVY = ("check", "transform")
IN_PODS = ("ingest", "check", "transform", "train", "evaluate", "register", "score", "monitor")
SMALL = {"cpu": 0.5, "memory": "1Gi"}
LARGE = {"cpu": 1, "memory": "3Gi"}
NAMESPACE, LAUNCHER = "tradewind", "airflow"
LAKE = "lake"  # a bucket
SECRET = "tradewind-connections"


@dataclass
class ClusterHouse(House):
    """A house with a cluster."""

    cluster: Cluster

    def address(self, part: str) -> str:
        """Of a part of the stack."""
        return f"{parts.MASTER}:{stack.recorded_ports(self.folder / '.tradewind')[part]}"

    def error(self, dag_id: str, run_id: str, task_id: str) -> str:
        """The last error of a task's log."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/1"
        lines = self.airflow.call("GET", path, params={"full_content": "true"})["content"]
        return [text for line in lines for text in _errors(line)][-1]

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """Of steps, now."""
        chosen = ",".join(f"tradewind.dev/{name}={value}" for name, value in labels.items())
        return self._pods(chosen or "app.kubernetes.io/component=step")

    def executors(self) -> list[dict[str, Any]]:
        """Spark's pods, now."""
        return self._pods("app.kubernetes.io/component=executor")

    def _pods(self, chosen: str) -> list[dict[str, Any]]:
        return list(self.cluster.get("pods", "--namespace", NAMESPACE, "--selector", chosen)["items"])


@contextmanager
def opened(folder: Path, cluster: Cluster, steps: Image, **settings: Any) -> Iterator[ClusterHouse]:
    """Bring it up, and down again without leaving a pod.

    Args:
        folder: of the project.
        cluster: that is up.
        steps: the image of steps, in the cluster's registry.
        settings: laid over the profile's `kubernetes`.
    """
    for name in ("include/models", "spark_jobs", "dags/pipelines"):
        shutil.copytree(ROOT / name, folder / name)
    given = values(steps, settings)
    objects = [one for one in chart.rendered("small", given) if one["kind"] not in {"Pod", "Namespace"}]
    profile = next(one for one in objects if one["kind"] == "ConfigMap" and "cluster.yaml" in one["data"])
    (folder / "profiles").mkdir()
    (folder / "profiles/cluster.yaml").write_text(profile["data"]["cluster.yaml"])
    cluster.apply(namespace(), account())
    cluster.apply(*objects)
    home = folder / ".tradewind"
    try:
        dev(folder, "up", profile="cluster")
        s3 = Connection.parse("s3_default", stack.connections(home)["s3_default"])
        buckets.make_at(s3.extra["endpoint_url"], str(s3.login), str(s3.password), LAKE)
        cluster.apply(secret(home))
        password = credentials(home / "run").airflow_password
        url = f"http://{parts.MASTER}:{stack.recorded_ports(home)['airflow']}"
        said = httpx.post(f"{url}/auth/token", json={"username": USER, "password": password}, trust_env=False)
        house = ClusterHouse(folder, Airflow(url, USER, password), said.json()["access_token"], cluster)
        house.airflow.call("POST", "/connections", json=connection(cluster))
        yield house
        dev(folder, "down", profile="cluster")
    finally:
        Supervisor(home).kill()


def values(steps: Image, settings: dict[str, Any]) -> dict[str, Any]:
    """Of the chart: what a platform team that has its own Airflow would give."""
    repository, _, digest = steps.name.partition("@")
    return {
        "images": {"steps": {"repository": repository, "digest": digest}},
        "launchers": [{"name": LAUNCHER, "namespace": NAMESPACE}],
        "pipelines": [{"name": name, **MAY_START_PODS.get(name, {})} for name in PIPELINES],
        "lake": {"uri": f"s3://{LAKE}/cluster", "connection": "s3_default"},
        "connections": {"s3_lake": ""}
        | {id: f"{SECRET}/{id}" for id in ("s3_default", "kafka_default", "mlflow_default")},
        "launcherNodes": True,
        "launcherServers": "deployment",
        "mlflow": {"enabled": False},
        "serving": {"enabled": False},
        "profile": {
            "host": parts.MASTER,
            "settings": {"threads": 1, "spark": spark.PODS},
            "stack": ["airflow", "kafka", "s3", "mlflow", "serving", "slack"],
            "environments": {
                "steps": {"python": sys.executable},
                "serving": {"python": str(SERVING)},
                "absent": {"python": sys.executable, "image": f"{parts.REGISTRY}/tradewind/absent:1"},
            },
            "kubernetes": {
                "connection": "cluster",
                "scratch": "300Mi",
                "resources": dict.fromkeys(IN_PODS, SMALL) | dict.fromkeys(HEAVY, LARGE),
                "env_secrets": ["absent"],
                **settings,
            },
            "serving": {"connection": "serving_default"},
        },
    }


def namespace() -> dict[str, Any]:
    """With the restricted standard enforced."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": label}}


def account() -> dict[str, Any]:
    """What Airflow is on the cluster; its rights are the chart's."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": LAUNCHER, "namespace": NAMESPACE}}


def secret(home: Path) -> dict[str, Any]:
    """The stack's connections, where pods find them."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE}}
    return body | {"stringData": stack.connections(home)}


def connection(cluster: Cluster) -> dict[str, Any]:
    """Airflow's connection of the cluster, with the launcher's token and no more rights than that."""
    token = cluster.kubectl("create", "token", LAUNCHER, "--namespace", NAMESPACE, "--duration", "8h").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    return {
        "connection_id": "cluster", "conn_type": "kubernetes",
        "extra": json.dumps({"kube_config": json.dumps(config), "namespace": NAMESPACE}),
    }  # fmt: skip


def _errors(line: dict[str, Any]) -> list[str]:
    """Values of the exceptions that a line of a log shows."""
    return [str(error["exc_value"]) for error in line.get("error_detail") or ()]
