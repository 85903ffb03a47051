"""Where endpoints' own servers are made in tests: a namespace with the chart's rights, a lake in S3, and callers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import yaml
from tests.helm import chart
from tests.servers import buckets
from tests.servers.kubernetes import parts
from tests.servers.kubernetes.cluster import Cluster
from tests.tradewind_runtime.serving.conftest import Models

from tradewind.dev.running import start
from tradewind.dev.servers.s3 import S3
from tradewind.servers import OwnServer, Wanted
from tradewind.servers.watch import ServerWatch
from tradewind_runtime import endpoints
from tradewind_runtime.connections import Connection
from tradewind_runtime.lake import Lake
from tradewind_runtime.launchers.pod import PodSettings

NAMESPACE, ENDPOINT, PIPELINE = "servers", "flights", "flight-delays"
LAKE, SECRET = "s3://servers/a lake", "connections"
SETTINGS = PodSettings(connection="cluster", namespace=NAMESPACE, secrets={"s3_lake": f"{SECRET}/s3_lake"})
WHO = {"by": "test", "reason": "because"}
CALLERS = 8


@dataclass
class Place:
    """Where servers are made: by an account that may do no more than the chart gives it."""

    cluster: Cluster
    image: str
    models: Models

    def wanted(self, endpoint: str = ENDPOINT, **own: Any) -> Wanted:
        given = {"image": self.image, "cpu": 0.3, "memory": "700Mi", "replicas": {"min": 2, "max": 2}, "patience": 240}
        return Wanted(endpoint, PIPELINE, LAKE, "s3_lake", OwnServer.model_validate(given | own), SETTINGS)

    def came(self, wanted: Wanted, *, ready: bool) -> dict[str, Any]:
        """What the rollout's task hears from its trigger."""
        watch = ServerWatch(
            connection="cluster", namespace=NAMESPACE, kind=wanted.own.kind, name=wanted.name, selector=wanted.selector,
            replicas=wanted.own.replicas.min, ready=ready, patience=wanted.own.patience,
        )  # fmt: skip
        return dict(asyncio.run(_first(watch)))

    def url(self, wanted: Wanted) -> str:
        """Of its service, which this machine reaches as pods do."""
        name = str(urlsplit(wanted.url).hostname).partition(".")[0]
        service = self.cluster.get("service", name, "--namespace", NAMESPACE)
        return f"http://{service['spec']['clusterIP']}/v2/models/{wanted.endpoint}/infer"

    def pods(self, wanted: Wanted) -> list[dict[str, Any]]:
        """Of its server."""
        chosen = f"tradewind.dev/endpoint={wanted.endpoint}"
        return list(self.cluster.get("pods", "--namespace", NAMESPACE, "--selector", chosen)["items"])

    def serves(self, generation: int, replicas: int = 2, endpoint: str = ENDPOINT) -> bool:
        """Whether so many replicas have it."""
        found = endpoints.statuses(self.models.documents, endpoint)
        return sum(one.generation == generation for one in found) >= replicas


async def _first(watch: ServerWatch) -> Any:
    async for event in watch.run():
        return event.payload
    raise AssertionError


@contextmanager
def opened(cluster: Cluster, image: str, folder: Path) -> Iterator[Place]:
    """One, which goes with its namespace."""
    server = S3.at(folder / "s3", host=parts.MASTER)
    with start(server) as running, pytest.MonkeyPatch.context() as patch, cluster.lent(NAMESPACE):
        buckets.make(running.server, "servers")
        text = running.server.connections()["s3_default"]
        lake = Lake(LAKE, Connection.parse("s3_lake", text))
        cluster.apply(_namespace(), _account(), *_rights())
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE}}
        cluster.apply(secret | {"stringData": {"s3_lake": text}})
        patch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps({"conn_type": "kubernetes", "extra": _way(cluster)}))
        yield Place(cluster, image, Models(folder / "models", lake.documents))


def _namespace() -> dict[str, Any]:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": label}}


def _account() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "airflow", "namespace": NAMESPACE}}


def _rights() -> list[dict[str, Any]]:
    """Of the chart, for both kinds of server."""
    team = {"name": "servers", "namespace": NAMESPACE, "pipelines": [{"name": PIPELINE}]}
    given = {"teams": [team], "launchers": [{"name": "airflow", "namespace": NAMESPACE}]}
    found = []
    for kind in ("deployment", "kserve"):
        for one in chart.rendered("small", given | {"launcherServers": kind}):
            if one["metadata"].get("namespace") != NAMESPACE:
                continue
            if one["kind"] in {"Role", "RoleBinding"}:
                one["metadata"]["name"] += f"-{kind}"
                if one["kind"] == "RoleBinding":
                    one["roleRef"]["name"] += f"-{kind}"
                found.append(one)
            elif one["kind"] == "ServiceAccount":
                found.append(one)
    return found


def _way(cluster: Cluster) -> str:
    """Airflow's account's, with its token."""
    token = cluster.kubectl("create", "token", "airflow", "--namespace", NAMESPACE, "--duration", "8h").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    return json.dumps({"kube_config": json.dumps(config), "namespace": NAMESPACE})


def rows(n: int = 3) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(n, 3))


def body(x: np.ndarray) -> dict[str, Any]:
    names = enumerate("abc")
    columns = [{"name": n, "shape": [len(x)], "datatype": "FP64", "data": x[:, i].tolist()} for i, n in names]
    return {"inputs": columns}


@dataclass
class Load:
    """Requests by new connections, several at a time; each is asked once more where its connection broke."""

    url: str
    digests: Counter[str] = field(default_factory=Counter)
    again: int = 0
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        fresh = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(timeout=10, trust_env=False, limits=fresh) as client:
            while not self.stop.is_set():
                self.ask(client)

    def ask(self, client: httpx.Client) -> None:
        for last in (False, True):
            try:
                answer = client.post(self.url, json=body(rows(1))).raise_for_status()
            except httpx.HTTPError as error:
                with self.lock:
                    self.failed += [repr(error)] if last else []
                    self.again += not last
                continue
            with self.lock:
                self.digests[answer.json()["parameters"]["digest"]] += 1
            return

    def forget(self) -> None:
        with self.lock:
            self.digests.clear()


@contextmanager
def load(url: str) -> Iterator[Load]:
    found = Load(url)
    with ThreadPoolExecutor(CALLERS) as callers:
        running = [callers.submit(found.run) for _ in range(CALLERS)]
        try:
            yield found
        finally:
            found.stop.set()
    for one in running:
        one.result()
