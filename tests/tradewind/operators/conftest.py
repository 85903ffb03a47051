"""A Kubernetes API on the loopback, as far as pods of steps need it. Its only node is this machine.

It speaks HTTP to the real client, operator and trigger, and really runs a pod's command, so that what
is tested is ours and Airflow's. What a cluster adds (admission, scheduling, images) is tested on one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.servers.loopback import JsonHandler, served, write_kubeconfig

NOW = "2026-01-01T00:00:00Z"
_OBJECT = re.compile(r"/api/v1/(?:namespaces/[^/]+/)?(?P<kind>[a-z]+)/(?P<name>[^/]+)$")
_PODS = re.compile(r"/api/v1/namespaces/[^/]+/pods(?:/([^/]+))?(/log)?$")


class Cluster:
    """Pods by name; `fate` says what becomes of a new one: runs, lies, vanishes, oom or hangs.

    What a preflight asks about: `objects` by kind and name, `unseen` kinds, `denied` verbs, and what a dry run says.
    """

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, str] = {}
        self.created: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.fate = "runs"
        self.phase_after_end: str | None = None  # a kubelet's word on the pod comes after that on its container
        self.objects: dict[tuple[str, str], dict[str, Any]] = {("namespaces", "ns"): {}}
        self.nodes: list[dict[str, Any]] = []
        self.unseen: set[str] = set()
        self.denied: set[str] = set()
        self.refusal: tuple[int, str] | None = None
        self.dry_runs: list[dict[str, Any]] = []

    def look(self, kind: str, name: str) -> tuple[int, dict[str, Any]]:
        if kind in self.unseen:
            return 403, {"kind": "Status", "code": 403, "message": f"{kind} is forbidden"}
        if (kind, name) not in self.objects:
            return 404, {"kind": "Status", "code": 404, "message": f'{kind} "{name}" not found'}
        return 200, {"apiVersion": "v1", "metadata": {"name": name}} | self.objects[kind, name]

    def try_out(self, pod: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.dry_runs.append(pod)
        if self.refusal is not None:
            return self.refusal[0], {"kind": "Status", "code": self.refusal[0], "message": self.refusal[1]}
        return 201, pod

    def review(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["kind"] == "SelfSubjectReview":
            return 201, body | {"status": {"userInfo": {"username": "airflow"}}}
        asked = body["spec"]["resourceAttributes"]
        return 201, body | {"status": {"allowed": asked["verb"] not in self.denied}}

    def create(self, pod: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        name = pod["metadata"]["name"]
        if name in self.pods:
            return 409, {"reason": "AlreadyExists", "message": f'pods "{name}" already exists', "code": 409}
        pod["metadata"] |= {"uid": name, "creationTimestamp": NOW, "resourceVersion": "1"}
        self.created.append(pod)
        self.pods[name] = pod
        self._run(pod)
        return 201, pod

    def _run(self, pod: dict[str, Any]) -> None:
        name, code, reason = pod["metadata"]["name"], 0, "Completed"
        if self.fate == "hangs":
            pod["status"] = _status("Running", {"running": {"startedAt": NOW}})
            return
        if self.fate in ("runs", "vanishes"):
            container = pod["spec"]["containers"][0]
            env = os.environ | {
                e["name"]: e["value"] for e in container["env"] if e.get("value") and e["name"] != "TMPDIR"
            }
            command = [sys.executable, *container["command"][1:], *container["args"]]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            code, reason = done.returncode, "Completed" if done.returncode == 0 else "Error"
            self.logs[name] = done.stdout + done.stderr
        if self.fate == "oom":
            code, reason = 137, "OOMKilled"
        state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": NOW, "finishedAt": NOW}}
        pod["status"] = _status(self.phase_after_end or ("Succeeded" if code == 0 else "Failed"), state)
        if self.fate == "vanishes":
            pod["status"] = _status("Running", {"running": {"startedAt": NOW}})

    def find(self, selector: str) -> list[dict[str, Any]]:
        wanted = [part.split("=") for part in selector.split(",") if "=" in part and "!" not in part]
        return [pod for pod in self.pods.values() if all(pod["metadata"]["labels"].get(k) == v for k, v in wanted)]


def _status(phase: str, state: dict[str, Any]) -> dict[str, Any]:
    container = {"name": "step", "image": "i", "imageID": "i", "ready": True, "restartCount": 0, "state": state}
    return {"phase": phase, "startTime": NOW, "containerStatuses": [container],
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": NOW}]}  # fmt: skip


class Handler(JsonHandler):
    cluster: Cluster

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        found = _PODS.match(url.path)
        if found is None and url.path.endswith("/nodes"):
            status = 403 if "nodes" in self.cluster.unseen else 200
            self.say(status, {"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": self.cluster.nodes})
        elif found is None and (one := _OBJECT.match(url.path)):
            self.say(*self.cluster.look(one["kind"], one["name"]))
        elif found is None:  # events
            self.say(200, {"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []})
        elif found[1] is None:
            items = self.cluster.find(parse_qs(url.query).get("labelSelector", [""])[0])
            self.say(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
        elif found[1] not in self.cluster.pods:
            self._missing(found[1])
        elif found[2]:
            self.say(200, self.cluster.logs.get(found[1], ""))
        else:
            self.say(200, self.cluster.pods[found[1]])

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        if url.path.startswith("/apis/"):
            self.say(*self.cluster.review(self.body()))
        elif "dryRun" in url.query:
            self.say(*self.cluster.try_out(self.body()))
        else:
            self.say(*self.cluster.create(self.body()))

    def do_PATCH(self) -> None:
        name = _PODS.match(urlsplit(self.path).path)[1]  # type: ignore[index]
        self.cluster.pods[name]["metadata"]["labels"] |= self.body()["metadata"]["labels"]
        self.say(200, self.cluster.pods[name])

    def do_DELETE(self) -> None:
        name = _PODS.match(urlsplit(self.path).path)[1]  # type: ignore[index]
        if "delete" in self.cluster.denied:
            self.say(403, {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "pods: not to be deleted"})
            return
        if name not in self.cluster.pods:
            self._missing(name)
            return
        self.cluster.deleted.append(name)
        self.say(200, self.cluster.pods.pop(name))

    def _missing(self, name: str) -> None:
        self.say(404, {"kind": "Status", "code": 404, "reason": "NotFound", "message": f'pods "{name}" not found'})


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster on a free port, and a kubeconfig that names it."""
    found = Cluster()
    with served(Handler, cluster=found) as address:
        write_kubeconfig(tmp_path, address)
        yield found
