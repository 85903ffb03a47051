"""What controllers say of a server's own object: that its pods cannot be made, or that all is well. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Said:
    """A controller's word.

    Args:
        well: nothing is missing, though there may be no pod: who scales to zero has none when nobody asks.
        why: it cannot be made; completes the sentence "… does not come up: ".
        silent: nothing was ever said: nobody may be there who would.
    """

    well: bool = False
    why: str = ""
    silent: bool = False


def of_deployment(found: Object) -> Said:
    """A quota, or an admission, that lets no pod be: Kubernetes tries on, and says so meanwhile."""
    failed = _conditions(found).get("ReplicaFailure") or {}
    said = str(failed.get("message") or failed.get("reason"))
    return Said(why=f"its pods are refused: {' '.join(said.split())[:500]}" if failed.get("status") == "True" else "")


def of_inference_service(found: Object) -> Said:
    """KServe's own word; the part that fails says more than the whole."""
    conditions = _conditions(found)
    wrong = next((one for one in _parts_first(conditions) if one.get("status") == "False"), None)
    return Said(
        well=conditions.get("Ready", {}).get("status") == "True",
        why=f"KServe says {_told(wrong)}" if wrong else "",
        silent=not conditions,
    )


#: By kind of server: where its object is read, and what that says.
OBJECTS: Mapping[str, tuple[str, str, str, Callable[[Object], Said]]] = {
    "deployment": ("apps", "v1", "deployments", of_deployment),
    "kserve": ("serving.kserve.io", "v1beta1", "inferenceservices", of_inference_service),
}


def _conditions(found: Object) -> Mapping[str, Object]:
    return {str(one["type"]): one for one in (found.get("status") or {}).get("conditions") or ()}


def _parts_first(conditions: Mapping[str, Object]) -> Iterator[Object]:
    """The predictor's, on which others wait; the sum of all at the end."""
    last = {"PredictorReady": 0, "Ready": 2}
    yield from sorted(conditions.values(), key=lambda one: last.get(str(one["type"]), 1))


def _told(condition: Object) -> str:
    words = (f"{condition['type']} is false", condition.get("reason"), condition.get("message"))
    return ": ".join(" ".join(str(word).split())[:500] for word in words if word)
