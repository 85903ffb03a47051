"""The cluster itself does what a cluster does, else nothing that is tried on it would mean much."""

from __future__ import annotations

import socket
import struct
import subprocess
from functools import partial
from typing import Any

import pytest
from tests.servers.kubernetes import parts
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.parts import NODES

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # the first has the cluster built from source
A, B = NODES


def waiting(name: str, *, node: str, namespace: str = "default", **container: Any) -> dict[str, Any]:
    """A pod that waits; its image needs no registry."""
    own = {"name": "main", "image": parts.PAUSE, "imagePullPolicy": "Never"} | container
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [own]}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": spec,
    }  # fmt: skip


def runs(cluster: Cluster, pod: str) -> bool:
    return cluster.kubectl("get", "pod", pod, "--output", "jsonpath={.status.phase}") == "Running"


def test_a_pod_runs_on_each_node_with_an_address_of_its_own(cluster: Cluster) -> None:
    for node in NODES:
        cluster.apply(waiting(f"on-{node.name}", node=node.name))
    for node in NODES:
        cluster.until(partial(runs, cluster, f"on-{node.name}"), f"a pod on {node.name}")
    found = {pod["spec"]["nodeName"]: pod["status"]["podIP"] for pod in cluster.get("pods")["items"]}
    assert found[A.name].startswith("10.244.0.")
    assert found[B.name].startswith("10.244.1.")
    cluster.kubectl("delete", "pods", "--all", "--now")


def test_services_have_names(cluster: Cluster) -> None:
    name = f"kubernetes.default.svc.{parts.DOMAIN}"
    cluster.until(lambda: resolve(name) == parts.API_SERVICE, "the API's own name is known")


def resolve(name: str) -> str:
    """An A record, asked of the service of the cluster's DNS, so that services work too."""
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.sendto(
            struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + question + struct.pack(">2H", 1, 1), (parts.DNS_SERVICE, 53)
        )
        answer = asking.recv(512)
    return socket.inet_ntoa(answer[-4:])


def test_the_restricted_standard_is_enforced(cluster: Cluster) -> None:
    label = "pod-security.kubernetes.io/enforce"
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": {label: "restricted"}}}
    )
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted'):
        cluster.apply(waiting("root", node=A.name, namespace="strict", securityContext={"privileged": True}))


def test_nodes_leave_the_machines_packet_filter_alone(cluster: Cluster) -> None:
    """A kubelet that adds a rule each minute makes each packet of the machine slower, for as long as it is up."""
    del cluster
    listed = subprocess.run(["iptables", "--list-rules"], capture_output=True, text=True, check=True)
    assert "KUBE-FIREWALL" not in listed.stdout


def test_a_node_is_lost_and_comes_back(cluster: Cluster) -> None:
    cluster.apply(waiting("lost", node=B.name))
    cluster.until(partial(runs, cluster, "lost"), "a pod on the node")
    cluster.lose(B)
    cluster.until(lambda: not cluster.ready(B.name), "the node is found lost")
    assert cluster.ready(A.name)
    cluster.start_node(B)
    cluster.until(lambda: cluster.ready(B.name), "the node is back")
    cluster.kubectl("delete", "pod", "lost", "--now")
