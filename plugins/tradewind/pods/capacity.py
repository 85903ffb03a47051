"""Whether any node of the cluster could ever have a pod, empty as they may become. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity  # type: ignore[import-untyped]

Object = Mapping[str, Any]
_REPELS = frozenset({"NoSchedule", "NoExecute"})
#: Of nodes that are away for now, drained or new: they come back.
_PASSING = "node.kubernetes.io/"


def lacking(pod: Object, nodes: Sequence[Object]) -> str | None:
    """Why no node could have the pod, each reason with its nodes; None where one could, or there are none to ask.

    Args:
        pod: with its spec.
        nodes: of the whole cluster.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        reasons = list(_reasons(pod, node))
        if not reasons:
            return None
        found[", ".join(reasons)].append(node["metadata"]["name"])
    return "; ".join(f"{reason} ({_names(names)})" for reason, names in found.items()) or None


def _reasons(pod: Object, node: Object) -> Iterator[str]:
    spec, labels = pod["spec"], node["metadata"].get("labels") or {}
    for key, value in (spec.get("nodeSelector") or {}).items():
        if labels.get(key) != value:
            yield f"has no label {key}={value}"
    for taint in (node.get("spec") or {}).get("taints") or ():
        passing = str(taint["key"]).startswith(_PASSING)
        if taint["effect"] in _REPELS and not passing and not _bears(spec.get("tolerations") or (), taint):
            yield f"is tainted {taint['key']}"
    has = (node.get("status") or {}).get("allocatable") or {}
    for name, wanted in _requests(spec).items():
        there = parse_quantity(has.get(name, 0))
        if wanted > there:
            yield f"has {name} {has.get(name, 0)} of {_plain(wanted, pod, name)}"


def _requests(spec: Object) -> dict[str, Decimal]:
    total: dict[str, Decimal] = defaultdict(Decimal)
    for container in spec.get("containers") or ():
        for name, amount in (container.get("resources", {}).get("requests") or {}).items():
            total[name] += parse_quantity(amount)
    return total


def _plain(wanted: Decimal, pod: Object, name: str) -> str:
    """As it was asked for, where one container asks."""
    asked = [c.get("resources", {}).get("requests", {}).get(name) for c in pod["spec"]["containers"]]
    given = [amount for amount in asked if amount is not None]
    return str(given[0]) if len(given) == 1 else str(wanted)


def _bears(tolerations: Sequence[Object], taint: Object) -> bool:
    return any(
        one.get("key") in {None, "", taint["key"]}
        and one.get("effect") in {None, "", taint["effect"]}
        and (one.get("operator") == "Exists" or one.get("value", "") == taint.get("value", ""))
        for one in tolerations
    )


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
