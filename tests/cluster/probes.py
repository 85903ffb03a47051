"""Pods that try whom they reach, to judge network policies by what comes of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.restricted import assert_restricted
from tests.servers.kubernetes.cluster import Cluster

#: Names the targets that it can connect to. The rules for a new pod come a moment after its start.
SCRIPT = """
import json, socket, sys, time
time.sleep(5)
def reached(host, port):
    address = socket.gethostbyname(host)  # what has no name is an error, and not denied
    try:
        socket.create_connection((address, port), timeout=4).close()
    except OSError:
        return False
    return True
print(json.dumps([name for name, where in json.loads(sys.argv[1]).items() if reached(*where)]))
"""
Targets = dict[str, tuple[str, int]]
Labels = dict[str, str]


@dataclass(frozen=True)
class Who:
    """A pod, by what policies know of it."""

    name: str
    namespace: str
    labels: Labels


def pod(who: Who, image: str, *command: str) -> dict[str, Any]:
    """A small one that the restricted standard lets in."""
    small = {"cpu": "50m", "memory": "64Mi"}
    container = {
        "name": "main", "image": image, "command": command, "resources": {"requests": small, "limits": small},
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
    }  # fmt: skip
    spec = {
        "restartPolicy": "Never", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }  # fmt: skip
    assert_restricted(spec)
    metadata = {"name": who.name, "namespace": who.namespace, "labels": who.labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def listening(cluster: Cluster, who: Who, image: str, port: int) -> str:
    """The address of a pod that can be connected to."""
    cluster.apply(pod(who, image, "python", "-m", "http.server", str(port)))
    where = (who.name, "--namespace", who.namespace)
    cluster.kubectl("wait", "pod", *where, "--for=condition=Ready", "--timeout=120s")
    return str(cluster.get("pod", *where)["status"]["podIP"])


def reached(cluster: Cluster, all_of: list[Who], image: str, targets: Targets) -> dict[str, set[str]]:
    """Name of each pod → the targets that it can connect to."""
    cluster.apply(*(pod(who, image, "python", "-c", SCRIPT, json.dumps(targets)) for who in all_of))
    found = {}
    for who in all_of:
        where = (who.name, "--namespace", who.namespace)
        cluster.kubectl("wait", "pod", *where, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=180s")
        found[who.name] = set(json.loads(cluster.kubectl("logs", *where)))
        cluster.kubectl("delete", "pod", *where, "--now")
    return found
