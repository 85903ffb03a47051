"""How a pod is called and found again: the same for the same request, run and attempt."""

from __future__ import annotations

import re

from tradewind_runtime.contract.base import digest
from tradewind_runtime.contract.request import StepRequest

LABEL = "tradewind.dev"
#: What a pod that starts others is told of itself.
POD, NAMESPACE, ADDRESS = "TRADEWIND_POD", "TRADEWIND_NAMESPACE", "TRADEWIND_POD_IP"

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def pod_name(request: StepRequest, attempt: int = 1) -> str:
    """A DNS label, the same for the same request, run and attempt."""
    unique = digest(request.run_id, request.fingerprint, attempt)[:10]
    return f"tw-{_slug(request.pipeline)}-{_slug(request.id)}-{unique}"


def labels(request: StepRequest) -> dict[str, str]:
    """By which a pod is found again, and by which policies and dashboards select it."""
    return {
        "app.kubernetes.io/managed-by": "tradewind",
        "app.kubernetes.io/component": "step",
        f"{LABEL}/pipeline": label_value(request.pipeline),
        f"{LABEL}/step": label_value(request.id),
        f"{LABEL}/run": label_value(request.run_id),
        f"{LABEL}/fingerprint": label_value(request.fingerprint),
    }


def label_value(text: str) -> str:
    """A text as a label's value: itself where it is one, else shortened, with a digest that keeps it unique."""
    if _LABEL_VALUE.fullmatch(text):
        return text
    head = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:52].strip("-_.")
    return f"{head}-{digest(text)[:10]}".lstrip("-")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:22].strip("-")
