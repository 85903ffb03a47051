"""Where the benchmark runs: a cluster, a namespace of its own, and a lake that pods reach."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.servers import buckets
from tests.servers.kubernetes import cluster as clusters
from tests.servers.kubernetes import images, parts
from tests.servers.kubernetes.cluster import Cluster

from tradewind.dev import ports
from tradewind.dev.running import start
from tradewind.dev.servers.s3 import S3
from tradewind_runtime.connections import Connection
from tradewind_runtime.lake import Lake

NAMESPACE = "tradewind-bench"
BUCKET, STORE, SECRET = "lake", "s3_default", "connections"
CLUSTER = "cluster"  # Airflow's connection


@dataclass(frozen=True)
class Place:
    """All that a step in a pod needs."""

    cluster: Cluster
    image: str
    lake: Lake


@contextmanager
def a_cluster() -> Iterator[Cluster]:
    """The one of TEST_CLUSTER, or one of its own."""
    if kept := os.environ.get("TEST_CLUSTER"):
        yield clusters.joined(Path(kept))
        return
    with (
        tempfile.TemporaryDirectory(prefix="tw-bench-", ignore_cleanup_errors=True) as folder,
        clusters.opened(Path(folder)) as found,
    ):
        yield found


@contextmanager
def a_place(cluster: Cluster) -> Iterator[Place]:
    """A namespace and a store, and Airflow's connections of both in this process; gone afterwards."""
    image = os.environ.get("STEPS_IMAGE") or images.builder().build("steps").name
    with tempfile.TemporaryDirectory() as folder:
        server = S3(folder=Path(folder), host=parts.MASTER, ports=ports.choose(S3.wants, host=parts.MASTER))
        with start(server):
            buckets.make(server, BUCKET)
            connections = server.connections()
            os.environ[f"AIRFLOW_CONN_{STORE.upper()}"] = connections[STORE]
            os.environ[f"AIRFLOW_CONN_{CLUSTER.upper()}"] = _connection(cluster)
            cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
            cluster.apply(_namespace(), _secret(connections))
            try:
                yield Place(cluster, image, Lake(f"s3://{BUCKET}/bench", Connection.parse(STORE, connections[STORE])))
            finally:
                cluster.kubectl("delete", "namespace", NAMESPACE)


def _namespace() -> dict[str, Any]:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": label}}


def _secret(connections: dict[str, str]) -> dict[str, Any]:
    named = {"name": SECRET, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": named, "stringData": connections}


def _connection(cluster: Cluster) -> str:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    return json.dumps({"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(config)}})
