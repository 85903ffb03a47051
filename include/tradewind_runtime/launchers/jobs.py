"""Companions of a step that runs in a pod: one indexed Job, whose pods are made like the step's own.

The Job belongs to the step's pod, so Kubernetes removes both together. Plain HTTP with the pod's own token: the
steps' environment needs no client of Kubernetes.
"""

from __future__ import annotations

import logging
import os
import secrets
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.launchers.companions import MODULE
from tradewind_runtime.launchers.pod import CONTAINER, LABEL

logging.getLogger("httpx").setLevel(logging.WARNING)  # else each question is a line of the step's log
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_JOB, _INDEX = "batch.kubernetes.io/job-name", "batch.kubernetes.io/job-completion-index"
_TOLD_WITHIN = 5.0  # seconds, until Kubernetes knows how a container ended
_UNWATCHED = 300  # seconds that an ended Job stays, should its pod not remove it
#: Of a pod's spec, what the server itself writes there.
_FILLED_IN = ("nodeName", "serviceAccount", "priority", "preemptionPolicy", "hostname", "subdomain", "initContainers")


@dataclass(frozen=True)
class Api:
    """The few calls that are needed, in one namespace."""

    namespace: str

    def call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """The answer's JSON. `path` is below the namespace.

        Raises:
            httpx.HTTPError: where there is no answer, or a bad one.
        """
        group, _, rest = path.partition(":")
        url = f"{_address()}/{group}/namespaces/{self.namespace}/{rest}"
        # Both files are read each time: the token is replaced every hour.
        trusted = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
        headers = {"Authorization": f"Bearer {(_ACCOUNT / 'token').read_text()}"}
        transport = httpx.HTTPTransport(verify=trusted, retries=3)
        with httpx.Client(transport=transport, headers=headers, timeout=20, trust_env=False) as client:
            response = client.request(method, url, **more)
        response.raise_for_status()
        return dict(response.json())


def _address() -> str:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


@dataclass
class JobCompanions:
    """The pods of a Job.

    Args:
        api: of Kubernetes.
        pod: the step's own.
        host: its address.
    """

    api: Api
    pod: str
    host: str
    name: str = field(default="", init=False)

    def start(self, words: Sequence[str], count: int, *, restarts: int = 0) -> None:
        """Read the step's own pod, and have more like it.

        Raises:
            StepError: TW589 where Kubernetes refuses.
        """
        self.name = f"{self.pod[:50].rstrip('-')}-{secrets.token_hex(3)}"
        try:
            own = self.api.call("GET", f"api/v1:pods/{self.pod}")
            self.api.call("POST", "apis/batch/v1:jobs", json=job(own, self.name, words, count, restarts))
        except httpx.HTTPError as error:
            raise _refused(error) from error

    def tend(self) -> bool:
        """Kubernetes starts them again itself, until the Job has failed."""
        try:
            found = self.api.call("GET", f"apis/batch/v1:jobs/{self.name}")
        except httpx.HTTPError as error:
            return not (
                isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.NOT_FOUND
            )
        return not any(one["type"] == "Failed" and one["status"] == "True" for one in _conditions(found))

    def how(self, index: int) -> str:
        """What Kubernetes says of its container, as soon as it says something."""
        until = time.monotonic() + _TOLD_WITHIN
        while time.monotonic() < until:
            mine = [one for one in self._pods() if one["metadata"]["labels"].get(_INDEX) == str(index)]
            told = [said for one in mine if (said := _ending(one))]
            if told:
                return told[-1]
            if not mine:
                break
            time.sleep(0.3)
        return "is gone with its pod: deleted, or lost with its node"

    def missing(self) -> str:
        """What Kubernetes says of pods that do not run."""
        told = [f"{one['metadata']['name']}: {_waiting(one)}" for one in self._pods() if _waiting(one)]
        return "; ".join(told) or "the pods run and do not call: is there a network policy between them?"

    def stop(self) -> None:
        """Remove the Job, and with it its pods. One that cannot be removed now is, with the step's pod."""
        if not self.name:
            return
        try:
            self.api.call("DELETE", f"apis/batch/v1:jobs/{self.name}", params={"propagationPolicy": "Background"})
        except httpx.HTTPError:
            return

    def _pods(self) -> list[dict[str, Any]]:
        try:
            found = self.api.call("GET", "api/v1:pods", params={"labelSelector": f"{_JOB}={self.name}"})
        except httpx.HTTPError:
            return []
        return sorted(found["items"], key=lambda one: str(one["metadata"]["creationTimestamp"]))


def job(own: dict[str, Any], name: str, words: Sequence[str], count: int, restarts: int = 0) -> dict[str, Any]:
    """An indexed Job of pods like the step's own, that belongs to it.

    Args:
        own: the step's pod, as Kubernetes has it.
        name: of the Job.
        words: of each pod's command.
        count: how many.
        restarts: of each pod; none of them may fail where it is 0.
    """
    meta = own["metadata"]
    labels = {
        key: value for key, value in meta["labels"].items() if key.startswith((f"{LABEL}/", "app.kubernetes.io/"))
    }
    # Not Airflow's own labels: the operator would take a companion for its step's pod.
    labels |= {f"{LABEL}/companion": "true"}
    kept = {key: value for key, value in meta.get("annotations", {}).items() if key.endswith("/safe-to-evict")}
    limits: dict[str, Any] = {"backoffLimit": 0}
    if restarts:
        disrupted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        limits = {"backoffLimitPerIndex": restarts, "podFailurePolicy": {"rules": [disrupted]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": labels,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}],
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": count,
            "ttlSecondsAfterFinished": _UNWATCHED,
            **limits,
            "template": {"metadata": {"labels": labels, "annotations": kept}, "spec": _spec(own["spec"], words)},
        },
    }


def _spec(own: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """Of the step's pod, without its token and without what others have put into it."""
    (step,) = (one for one in own["containers"] if one["name"] == CONTAINER)
    volumes = [one for one in own.get("volumes", []) if not _is_token(one)]
    named = {one["name"] for one in volumes}
    mounts = [one for one in step.get("volumeMounts", []) if one["name"] in named]
    container = {**step, "command": ["python", "-m", MODULE], "args": list(words), "volumeMounts": mounts}
    container["env"] = [one for one in step.get("env", []) if "fieldRef" not in one.get("valueFrom", {})]
    kept = {key: value for key, value in own.items() if key not in _FILLED_IN}
    mounted = {one["name"] for one in mounts}
    return kept | {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [one for one in volumes if one["name"] in mounted],
    }


def _is_token(volume: dict[str, Any]) -> bool:
    return any("serviceAccountToken" in one for one in volume.get("projected", {}).get("sources", []))


def _conditions(found: dict[str, Any]) -> list[dict[str, Any]]:
    return list(found.get("status", {}).get("conditions") or [])


def _ending(pod: dict[str, Any]) -> str:
    """How a pod's container ended; nothing while it runs."""
    status, node = pod.get("status", {}), pod["spec"].get("nodeName", "no node")
    if status.get("reason"):  # evicted, pre-empted, its node shut down
        return f"was stopped on {node}: {status['reason']}, {status.get('message', '')}".rstrip(", ")
    for one in status.get("containerStatuses") or []:
        if ended := one.get("state", {}).get("terminated"):
            if ended.get("reason") == "OOMKilled":
                return f"was killed for its memory, limit {_limit(pod)}"
            return f"ended with exit code {ended['exitCode']} on {node}"
    return ""


def _limit(pod: dict[str, Any]) -> str:
    return str(pod["spec"]["containers"][0].get("resources", {}).get("limits", {}).get("memory", "unknown"))


def _waiting(pod: dict[str, Any]) -> str:
    """Why a pod does not run."""
    if said := [one for one in _conditions(pod) if one["type"] == "PodScheduled" and one["status"] == "False"]:
        return str(said[0].get("message") or said[0].get("reason"))
    for one in pod.get("status", {}).get("containerStatuses") or []:
        if waits := one.get("state", {}).get("waiting"):
            return f"{waits.get('reason')} {waits.get('message', '')}".strip()
    return _ending(pod)


def _refused(error: httpx.HTTPError) -> StepError:
    if isinstance(error, httpx.HTTPStatusError):
        answer = error.response
        said = answer.json().get("message", str(error)) if "json" in answer.headers["content-type"] else str(error)
        final = answer.status_code in (
            httpx.codes.FORBIDDEN,
            httpx.codes.UNPROCESSABLE_ENTITY,
            httpx.codes.UNAUTHORIZED,
        )
        final = final and "exceeded quota" not in said
    else:
        said, final = f"Kubernetes cannot be reached at {_address()}: {str(error) or type(error).__name__}", False
    return StepError(
        "TW589", "the step may not start its companions", retryable=not final, got=said,
        fix="`companions: true` for this pipeline in the chart's values gives its service account the right, and its "
        "pods the way to Kubernetes where a network policy is between them",
        docs="guides/cluster.md",
    )  # fmt: skip
