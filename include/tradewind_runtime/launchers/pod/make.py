"""The pod of a request."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from tradewind_runtime.connections import variable
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.resources import Resources
from tradewind_runtime.launchers.exchange import arguments
from tradewind_runtime.launchers.pod.allowed import refusals
from tradewind_runtime.launchers.pod.executors import TEMPLATE, asks_kubernetes, template
from tradewind_runtime.launchers.pod.mounts import mounted
from tradewind_runtime.launchers.pod.names import ADDRESS, LABEL, NAMESPACE, POD, labels, pod_name
from tradewind_runtime.launchers.pod.override import overridden
from tradewind_runtime.launchers.pod.place import amounts, elsewhere, selector, tolerations
from tradewind_runtime.launchers.pod.settings import PodSettings

CONTAINER = "step"
#: A container's security context under the restricted standard, with no root to write to.
RESTRICTED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
LATE = 300  # seconds that Airflow has to end a pod itself before Kubernetes does


def wanted(kind: str, asked: Mapping[str, Any] | None, settings: PodSettings) -> Resources:
    """What a step of a kind gets: what the YAML asks for, else what the profile gives such steps."""
    return Resources.model_validate(asked) if asked else settings.resources.get(kind, Resources())


def pod(
    request: StepRequest,
    settings: PodSettings,
    *,
    image: str,
    resources: Resources | None = None,
    timeout: float | None = None,
    attempt: int = 1,
    avoid: Sequence[str] = (),
    secrets: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The pod that does a request.

    Args:
        request: already in the lake when the pod starts.
        settings: the profile's.
        image: of the step's environment, where it asks for no other.
        resources: what the YAML asks for; else the profile's for this kind of step.
        timeout: seconds after which Kubernetes ends it even if nobody watches any more.
        attempt: tells a retry's pod from one that is still ending.
        avoid: nodes to stay away from where others can have it.
        secrets: variable to SECRET/KEY, of the profile's own.

    Raises:
        StepError: TW592 where the profile names no Secret for one of its connections; TW162, TW163 and TW164 where
            it asks for what the profile does not have or allow.
    """
    asked = resources or wanted(request.step, None, settings)
    for refusal in refusals(asked, settings):
        raise refusal.error()
    made = _spec(request, settings, asked, asked.image or image, timeout) | elsewhere(avoid)
    made["containers"][0]["env"] += secret_env((), settings, secrets)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(request, attempt),
            "namespace": settings.namespace,
            "labels": labels(request),
            "annotations": {
                f"{LABEL}/run-id": request.run_id,
                f"{LABEL}/result": request.result_path,
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            },
        },
        "spec": overridden(made, asked.pod_override, settings) if asked.pod_override else made,
    }


def _spec(
    request: StepRequest, settings: PodSettings, asked: Resources, image: str, timeout: float | None
) -> dict[str, Any]:
    volumes, mounts = mounted(asked, settings)
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.service_account.replace("{pipeline}", request.pipeline),
        "automountServiceAccountToken": _starts_pods(request),
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.grace,
        "securityContext": security(settings, volumes),
        "containers": [_container(request, settings, asked, image) | {"volumeMounts": mounts}],
        "volumes": volumes,
        "tolerations": tolerations(asked, settings),
    }
    if labels_of_node := selector(asked, settings):
        spec["nodeSelector"] = labels_of_node
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if asked.priority:
        spec["priorityClassName"] = asked.priority
    if asks_kubernetes(request):
        executor = json.dumps(template(request, settings, spec), separators=(",", ":"))
        spec["containers"][0]["env"].append({"name": TEMPLATE, "value": executor})
    if timeout:
        spec["activeDeadlineSeconds"] = math.ceil(timeout) + LATE
    return spec


def security(settings: PodSettings, volumes: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """A pod's context under the restricted standard."""
    found: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.user is not None:
        found |= {"runAsUser": settings.user, "runAsGroup": settings.user, "fsGroup": settings.user}
    if any("persistentVolumeClaim" in volume for volume in volumes):
        found["fsGroupChangePolicy"] = "OnRootMismatch"  # else each start walks all files of a claim
    return found


def _container(request: StepRequest, settings: PodSettings, asked: Resources, image: str) -> dict[str, Any]:
    amount = amounts(asked, settings)
    own = {
        "HOME": "/scratch",
        "TMPDIR": "/scratch",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(math.ceil(asked.cpu)),  # else a library starts a thread for each core of the node
    }
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "tradewind_runtime"],
        "args": arguments(request),
        "env": [
            *({"name": name, "value": value} for name, value in own.items()),
            *(_itself() if _starts_pods(request) else ()),
            *secret_env(request.connections.values(), settings, asked.env),
        ],
        # Requests are limits: a step is never throttled by its neighbours nor killed for their memory.
        "resources": {"requests": amount, "limits": dict(amount)},
        "securityContext": deepcopy(RESTRICTED),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def secret_env(
    connections: Iterable[str], settings: PodSettings, others: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Variables of a container that Secrets hold: connections by their id, and others by SECRET/KEY.

    Raises:
        StepError: TW592 where the profile names no Secret for a connection.
    """
    found = []
    for named in sorted(set(connections)):
        held = settings.secrets.get(named)
        if held is None:
            raise StepError(
                "TW592", f"the profile names no Secret for the connection {named!r}", retryable=False,
                fix=f"kubernetes: {{secrets: {{{named}: connections/{named}}}}}",
            )  # fmt: skip
        found.append(_from_secret(variable(named), held))
    return found + [_from_secret(name, held) for name, held in (others or {}).items()]


def _from_secret(name: str, held: str) -> dict[str, Any]:
    secret, _, key = held.partition("/")
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def has_companions(request: StepRequest) -> bool:
    """Whether the step has companions: a training on several workers, or a sweep's trials."""
    train, tune = request.config.get("train") or {}, request.config.get("tune") or {}
    wanted = {"train": train.get("distributed") is not None, "tune": tune.get("workers") == "pods"}
    return wanted.get(request.step, False)


def _starts_pods(request: StepRequest) -> bool:
    return has_companions(request) or asks_kubernetes(request)


def _itself() -> list[dict[str, Any]]:
    """What a pod that starts others is told of itself."""
    told = {POD: "metadata.name", NAMESPACE: "metadata.namespace", ADDRESS: "status.podIP"}
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in told.items()]
