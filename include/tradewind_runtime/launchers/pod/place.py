"""Which nodes a pod may run on, and what it takes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradewind_runtime.contract.resources import Resources, Toleration
from tradewind_runtime.launchers.pod.settings import GPU_LABEL, GpuKind, Placement, PodSettings

_LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def amounts(wanted: Resources, settings: PodSettings) -> dict[str, str]:
    """What is asked of a node, which is also the most that is had."""
    found = {"cpu": f"{wanted.cpu:.10g}", "memory": wanted.memory}
    if wanted.ephemeral:
        found["ephemeral-storage"] = wanted.ephemeral
    if wanted.gpu.count:
        found[gpu_resource(wanted, settings)] = str(wanted.gpu.count)
    return found


def gpu_resource(wanted: Resources, settings: PodSettings) -> str:
    """What Kubernetes calls such a GPU, or such a part of one."""
    whole = _kind(wanted, settings).resource
    return f"{whole.partition('/')[0]}/mig-{wanted.gpu.mig}" if wanted.gpu.mig else whole


def selector(wanted: Resources, settings: PodSettings) -> dict[str, str]:
    """Labels of its node: what the profile says is not for a YAML to change."""
    return {**wanted.node_selector, **given_selector(wanted, settings)}


def given_selector(wanted: Resources, settings: PodSettings) -> dict[str, str]:
    """Labels that the profile asks of the node: for all pods, for such a GPU, and for spot nodes."""
    found = dict(settings.node_selector)
    for nodes in _nodes(wanted, settings):
        found |= nodes.selector
    return found


def tolerations(wanted: Resources, settings: PodSettings) -> list[dict[str, Any]]:
    """Taints that do not keep it away, and how long a node that is lost is waited for."""
    found: list[Toleration] = []
    if wanted.gpu.count:
        found.append(Toleration(key=_kind(wanted, settings).resource, operator="Exists", effect="NoSchedule"))
    for nodes in _nodes(wanted, settings):
        found += nodes.tolerations
    found += wanted.tolerations
    said = {one.key for one in found if one.effect in ("NoExecute", None)}
    found += [
        Toleration(key=key, operator="Exists", effect="NoExecute", seconds=settings.node_lost_after)
        for key in _LOST
        if key not in said
    ]
    return [one.model_dump(by_alias=True, exclude_none=True) for one in dict.fromkeys(found)]


def elsewhere(avoid: Sequence[str]) -> dict[str, Any]:
    """The wish to be on none of these nodes."""
    if not avoid:
        return {}
    rule = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": list(avoid)}
    wish = {"weight": 100, "preference": {"matchExpressions": [rule]}}
    return {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}}


def _nodes(wanted: Resources, settings: PodSettings) -> list[Placement]:
    return [
        *([_kind(wanted, settings)] if wanted.gpu.count else []),
        *([settings.spot] if wanted.spot and settings.spot else []),
    ]


def _kind(wanted: Resources, settings: PodSettings) -> GpuKind:
    kind = wanted.gpu.kind
    if kind is None:
        return GpuKind()
    return settings.gpu_kinds.get(kind) or GpuKind(selector={GPU_LABEL: kind})
