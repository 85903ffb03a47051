"""The chart on the test's cluster: a release by Helm, what stands beside it, and how its servers are asked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import xgboost
import yaml
from tests.cluster.policies import ways_out
from tests.helm.chart import CHART
from tests.servers import buckets
from tests.servers.kubernetes import parts, programs
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.images import Image

from tradewind.dev.running import start
from tradewind.dev.servers.s3 import S3
from tradewind_runtime import artefacts, frameworks
from tradewind_runtime.connections import Connection, store_options
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import moves
from tradewind_runtime.launchers.pod import USER

NAME, NAMESPACE, TEAM = "chart", "chart", "chart-fraud"
LABEL = f"app.kubernetes.io/instance={NAME}"
ENDPOINT = "late"
FEATURES = ("a", "b")
SECRET = "connections"
LAKE = "s3://lake/chart"
POSTGRES = 999  # as whom the chart's PostgreSQL runs
#: Claim → who writes to it.
CLAIMS = {f"{NAME}-mlflow": USER, f"{NAME}-mlflow-postgresql": POSTGRES}
Values = dict[str, Any]


@dataclass
class Release:
    """One release of the chart; installed, upgraded and tested by whoever holds it."""

    cluster: Cluster
    chart: Path
    values: Values
    connection: str  # of the lake

    def helm(self, *words: str) -> str:
        """What it prints, errors too.

        Raises:
            AssertionError: where it fails, with that.
        """
        done = self._run(*words)
        assert done.returncode == 0, f"helm {' '.join(words)}: {done.stdout}"
        return done.stdout

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(programs.helm()), *words, "--namespace", NAMESPACE, "--kubeconfig", str(self.cluster.kubeconfig)]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    def install(self) -> None:
        """As it was given, and what it cannot make itself."""
        self._given("install", self.values)
        self.cluster.apply(secret(TEAM, self.connection))  # the chart has made the namespace

    def upgrade(self, values: Values) -> None:
        """To other values."""
        self._given("upgrade", values)

    def rollback(self) -> None:
        """To the revision before."""
        self.helm("rollback", NAME, "--wait", "--timeout", "5m")

    def uninstall(self) -> None:
        """What Helm has made goes, but for what is kept."""
        self.helm("uninstall", NAME, "--wait", "--timeout", "3m")

    def discard(self) -> None:
        """However far it has come."""
        self._run("uninstall", NAME, "--ignore-not-found")

    def test(self) -> tuple[bool, list[str]]:
        """`helm test`: whether it passes, and how each of its pods ended."""
        done = self._run("test", NAME, "--timeout", "3m")
        return done.returncode == 0, re.findall(r"^Phase: +(\w+)$", done.stdout, re.MULTILINE)

    def _given(self, verb: str, values: Values) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(values, file)
            file.flush()
            self.helm(verb, NAME, str(self.chart), "--values", file.name, "--wait", "--timeout", "8m")

    def mlflow(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request by MLflow's REST, by its service's address and its name."""
        url = f"http://{self.address('mlflow')}:5000/api/2.0/mlflow/{path}"
        named = {"host": f"{NAME}-mlflow.{NAMESPACE}.svc:5000"}
        given: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        answer = httpx.request(method, url, headers=named, timeout=30, trust_env=False, **given)
        return dict(answer.raise_for_status().json())

    @property
    def lake_port(self) -> int:
        """Of the object store beside the cluster."""
        return int(json.loads(self.connection)["extra"]["endpoint_url"].rpartition(":")[2])

    def image(self, name: str) -> str:
        """Of `images`, by its digest."""
        return "{repository}@{digest}".format(**self.values["images"][name])

    def kubectl(self, *words: str) -> str:
        """In the release's namespace."""
        return self.cluster.kubectl("--namespace", NAMESPACE, *words)

    def address(self, part: str) -> str:
        """Of a service."""
        return self.kubectl("get", "service", f"{NAME}-{part}", "--output", "jsonpath={.spec.clusterIP}")

    def pods(self, part: str) -> list[dict[str, Any]]:
        """Of a part, those that are not on their way out."""
        chosen = f"{LABEL},app.kubernetes.io/component={part}"
        found = self.cluster.get("pods", "--namespace", NAMESPACE, "--selector", chosen)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


@contextmanager
def beside(folder: Path, cluster: Cluster, images: dict[str, Image]) -> Iterator[Release]:
    """All that a release needs, and nothing of it left afterwards; the release is for its user to install."""
    with start(S3.at(folder / "s3", host=parts.MASTER)) as running:
        server = running.server
        buckets.make(server, "lake")
        connection = server.connections()["s3_default"]
        _serve(folder, Documents(LAKE, store_options(Connection.parse("s3_lake", connection))))
        cluster.apply(_namespace(), *(_volume(folder, claim, owner) for claim, owner in CLAIMS.items()))
        cluster.apply(secret(NAMESPACE, connection))
        release = Release(cluster, _copy(folder / "chart"), values(images, server.ports["s3"]), connection)
        try:
            yield release
        finally:
            release.discard()
            cluster.kubectl("delete", "namespace", NAMESPACE, TEAM, "--ignore-not-found", "--timeout", "120s")
            cluster.kubectl("delete", "persistentvolume", *CLAIMS, "--ignore-not-found")


def values(images: dict[str, Image], s3: int) -> Values:
    """As a small platform team would give them: PostgreSQL for MLflow, a team with its own namespace, few ways out."""
    small = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    return {
        "airflow": {"enabled": False},
        "images": {name: _image(image) for name, image in images.items()},
        "lake": {"uri": LAKE, "connection": "s3_lake"},
        "connections": {
            "s3_lake": f"{SECRET}/s3_lake", "s3_default": "", "kafka_default": "", "mlflow_default": "",
        },
        "launchers": [{"name": "airflow", "namespace": NAMESPACE}],
        "pipelines": [{"name": "flights"}, {"name": "trips", "companions": True}],
        "teams": [
            {
                "name": "fraud", "namespace": TEAM, "create": True, "pipelines": [{"name": "card-fraud"}],
                "quota": {"requests.cpu": "2", "requests.memory": "4Gi", "pods": "5"},
                "limits": {"max": {"cpu": "1", "memory": "2Gi"}, "default": {"cpu": "500m", "memory": "512Mi"}},
            }
        ],
        "serving": {"resources": small},
        "mlflow": {"resources": small, "postgresql": {"enabled": True}, "storage": {"size": "1Gi"}},
        "networkPolicy": ways_out(s3),
    }  # fmt: skip


def secret(namespace: str, connection: str) -> dict[str, Any]:
    """The lake's connection, where pods find it."""
    metadata = {"name": SECRET, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"s3_lake": connection}}


def question(rows: int) -> dict[str, Any]:
    """A V2 request to the endpoint."""
    column = {"shape": [rows], "datatype": "FP64", "data": [0.5] * rows}
    return {"inputs": [{"name": name, **column} for name in FEATURES]}


def _image(image: Image) -> dict[str, str]:
    repository, _, digest = image.name.partition("@")
    return {"repository": repository, "digest": digest}


def _copy(to: Path) -> Path:
    """The chart; with the official one that AIRFLOW_CHART names, else without it, since it is not asked for."""
    shutil.copytree(CHART, to)
    if named := os.environ.get("AIRFLOW_CHART"):
        (to / "charts").mkdir()
        shutil.copy(named, to / "charts")
    else:
        about = yaml.safe_load((to / "Chart.yaml").read_text())
        del about["dependencies"]
        (to / "Chart.yaml").write_text(yaml.safe_dump(about))
    return to


def _namespace() -> dict[str, Any]:
    """With the restricted standard enforced."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": label}}


def _volume(folder: Path, claim: str, owner: int) -> dict[str, Any]:
    """A folder of this machine, which both nodes are, for one claim."""
    path = folder / claim
    path.mkdir()
    os.chown(path, owner, owner)
    return {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": claim},
        "spec": {
            "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": str(path), "type": "Directory"},
            "claimRef": {"namespace": NAMESPACE, "name": claim},
        },
    }  # fmt: skip


def _serve(folder: Path, documents: Documents) -> None:
    """A small real model in the lake, for the server to serve."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, len(FEATURES)))
    data = xgboost.DMatrix(rows, label=(rows.sum(axis=1) > 0).astype(float), feature_names=list(FEATURES))
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 2, "nthread": 1}, data, 5)
    framework = frameworks.framework_of(booster)
    (folder / "model").mkdir()
    framework.save(booster, folder / "model", rows)
    about = {"framework": framework.NAME, "task": "binary", "label": "y", "features": FEATURES}
    ref = artefacts.save(documents, folder / "model", about)
    moves.promote(documents, ENDPOINT, ref.digest, expected=0, by="test", reason="test")
