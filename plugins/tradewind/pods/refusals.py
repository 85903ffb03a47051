"""What Kubernetes says of a pod that it would not take, as a problem with its place and its fix. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from kubernetes.utils.quantity import parse_quantity  # type: ignore[import-untyped]

from tradewind.pods.probes import Probe
from tradewind_runtime.contract.errors import Problem

_QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,]+), requested: (?P<requested>.+), used: .+, limited: (?P<limited>.+)"
)
_ACCOUNT = re.compile(r'serviceaccount "(?P<name>[^"]+)" not found')


def problem_of(probe: Probe, status: int, message: str) -> Problem | None:
    """Why this pod cannot run; a warning where it can once others have ended; None where nothing is wrong with it."""
    file, path = probe.resources_at()
    if status == 409:  # one of that name is there
        return None
    if (quota := _QUOTA.search(message)) is not None:
        asked, most = _amounts(quota["requested"]), _amounts(quota["limited"])
        over = {name: amount for name, amount in asked.items() if parse_quantity(amount) > parse_quantity(most[name])}
        shown, limits = over or asked, {name: most[name] for name in over or asked}
        never = f"{probe.name} asks for more than the quota {quota['name']!r} ever gives"
        later = f"{probe.name} must wait for others to end: the quota {quota['name']!r} is used up"
        return Problem(
            code="TW578", severity="error" if over else "warning", message=never if over else later,
            file=file, path=path, got=_shown(shown), expected=f"at most {_shown(limits)}",
            fix="ask for less in resources:, or have the quota raised",
        )  # fmt: skip
    if (account := _ACCOUNT.search(message)) is not None:
        name, namespace = account["name"], probe.pod["metadata"]["namespace"]
        return Problem(
            code="TW577", message=f"the namespace {namespace!r} has no service account {name!r}", file=probe.profile,
            path="kubernetes.service_account", got=name,
            fix=f"name {probe.plan.pipeline} in pipelines: of the chart, or kubectl create serviceaccount {name}",
        )  # fmt: skip
    return Problem(
        code="TW578", message=f"Kubernetes would not take the pod of {probe.name}", file=file, path=path,
        got=f"{status} {' '.join(message.split())[:500]}", fix="mend what it names, here or in the namespace's rules",
    )  # fmt: skip


def said(error: Any) -> str:
    """Kubernetes' own words in an ApiException."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _amounts(text: str) -> Mapping[str, str]:
    return dict(part.split("=", 1) for part in text.split(","))


def _shown(amounts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {amount}" for name, amount in amounts.items())
