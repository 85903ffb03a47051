"""A real pod for each image, which does nothing: only a node knows whether it can pull it and has what it names."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from kubernetes.client import ApiClient, ApiException, CoreV1Api  # type: ignore[import-untyped]

from tradewind.pods.ending import Ending, Object, ended, stuck, unschedulable
from tradewind.pods.probes import Probe
from tradewind.pods.refusals import problem_of, said
from tradewind_runtime.contract.errors import Problem

#: Small, and enough for an interpreter.
_RESOURCES = {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "64Mi"}


def trials(client: ApiClient, probes: Sequence[Probe], *, seconds: float) -> Iterator[Problem]:
    """What hinders pods from starting.

    Args:
        client: of the cluster.
        probes: of one namespace.
        seconds: that an image may take to be pulled; then it is left at that, with a warning.
    """
    for group in _groups(probes):
        yield from _trial(CoreV1Api(client), client, group, seconds)


def _groups(probes: Sequence[Probe]) -> list[list[Probe]]:
    """Those of one image and one account: one pod does for all."""
    found: dict[tuple[str, str], list[Probe]] = defaultdict(list)
    for probe in probes:
        found[probe.container["image"], probe.pod["spec"]["serviceAccountName"]].append(probe)
    return list(found.values())


def trial_pod(group: Sequence[Probe]) -> dict[str, Any]:
    """The pod of the first, without its work, and with all that the others name."""
    first = group[0]
    variables = {one["name"]: one for probe in group for one in probe.container["env"]}
    container = first.container | {
        "command": ["python", "-c", "pass"], "args": [], "env": list(variables.values()),
        "resources": {"requests": _RESOURCES, "limits": dict(_RESOURCES)},
    }  # fmt: skip
    labels = first.pod["metadata"]["labels"] | {"app.kubernetes.io/component": "preflight"}
    named = {"name": f"tw-preflight-{uuid4().hex[:10]}", "namespace": first.pod["metadata"]["namespace"]}
    spec = first.pod["spec"] | {"containers": [container], "activeDeadlineSeconds": 900}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": named | {"labels": labels}, "spec": spec}


def _trial(core: CoreV1Api, client: ApiClient, group: Sequence[Probe], seconds: float) -> Iterator[Problem]:
    body = trial_pod(group)
    name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
    try:
        core.create_namespaced_pod(namespace, body)
    except ApiException as error:
        if (problem := problem_of(group[0], int(error.status or 0), said(error))) is not None:
            yield problem
        return
    try:
        yield from _problems(group[0], _watched(core, client, name, namespace, seconds))
    finally:
        with suppress(ApiException):
            core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)


def _watched(core: CoreV1Api, client: ApiClient, name: str, namespace: str, seconds: float) -> Ending:
    began, scheduled, pod = time.monotonic(), None, {}
    while time.monotonic() - began < seconds:
        pod = client.sanitize_for_serialization(core.read_namespaced_pod(name, namespace))
        if (found := ended(pod)) is not None:
            return found
        if pod["spec"].get("nodeName") and scheduled is None:
            scheduled = time.monotonic()
        events = core.list_namespaced_event(namespace, field_selector=f"involvedObject.name={name}").items
        plain = [client.sanitize_for_serialization(event) for event in events]
        # What the node lacks of what is named will not come by waiting for it here.
        waited = math.inf if _lacks(pod) else scheduled and time.monotonic() - scheduled
        if (found := stuck(pod, plain, scheduled=waited)) is not None:
            return found
        time.sleep(0.5)
    why = unschedulable(pod) or "its image is still being pulled"
    return Ending(kind="unschedulable", code="TW578", how=f"has not started within {seconds:.0f} s: {why}")


def _lacks(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    waiting = (status.get("state", {}).get("waiting") or {} for status in statuses)
    return any(one.get("reason") == "CreateContainerConfigError" for one in waiting)


def _problems(probe: Probe, ending: Ending) -> Iterator[Problem]:
    if ending.kind == "ended" and ending.how.endswith("code 0"):
        return
    image = f"environments.{probe.step.environment}.image"
    yield Problem(
        code=ending.code, severity="warning" if ending.code == "TW578" else "error",
        message=f"a pod that does nothing, with the image of {probe.name}, {ending.how}", file=probe.profile,
        path=image if ending.kind in {"image", "ended"} else "kubernetes", got=probe.container["image"], fix=ending.fix,
    )  # fmt: skip
