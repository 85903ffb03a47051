"""The chart's network policies, enforced: what its rights let a pod ask, it must also reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.probes import Who, reached
from tests.servers.kubernetes import extras, parts, programs
from tests.servers.kubernetes.cluster import Cluster

from tradewind.dev.running import start

#: Of a step's pod.
STEP = {"app.kubernetes.io/managed-by": "tradewind", "app.kubernetes.io/component": "step"}


def ways_out(*allowed: int) -> dict[str, Any]:
    """The chart's `networkPolicy`: names, Kubernetes, and these ports of the servers beside the cluster."""
    here = [{"ipBlock": {"cidr": f"{parts.MASTER}/32"}}]
    ports = [{"port": port} for port in allowed]
    return {"enabled": True, "egress": [{"to": here, "ports": ports}], "apiServer": here, "dns": here}


@contextmanager
def enforced(cluster: Cluster, folder: Path, release: str) -> Iterator[None]:
    """Those of one release of the chart; others' on the same cluster are left alone."""
    server = extras.Policies(
        folder=folder, host=parts.MASTER, program=str(programs.program("policies")),
        kubeconfig=cluster.kubeconfig, selector=f"app.kubernetes.io/instance={release}",
    )  # fmt: skip
    with start(server):
        yield


def reached_by_a_step(cluster: Cluster, namespace: str, image: str, lake_port: int) -> set[str]:
    """Of the lake, which is allowed, and the registry beside it, which is not: those that a step's pod connects to."""
    targets = {"lake": (parts.MASTER, lake_port), "registry": (parts.MASTER, int(parts.REGISTRY.rpartition(":")[2]))}
    return reached(cluster, [Who("probe", namespace, STEP)], image, targets)["probe"]
