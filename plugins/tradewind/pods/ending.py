"""What became of a pod that left no result. Pure: from what Kubernetes says of it, in the API's own form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.launchers.pod import CONTAINER

Object = Mapping[str, Any]
#: `disrupted`: the cluster took the node for something else, and the step did nothing wrong.
Kind = Literal["ended", "unschedulable", "image", "start", "memory", "evicted", "disrupted", "node", "refused", "gone"]

GUIDE = "guides/cluster.md#when-it-fails"
#: Seconds before what mostly mends itself is taken for what it says: a registry that is busy, a Secret that comes late.
PATIENCE = 40
_NEVER_AN_IMAGE = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_NO_IMAGE_YET = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
#: Of a registry that has answered; anything else may be the network.
_NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|unauthorized|denied|forbidden|authentication required", re.IGNORECASE
)
_CANNOT_START = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError", "StartError"}
)
_KEEP_FROM_STARTING = frozenset({"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "Failed"})
_WELL = "ended with exit code 0"
_DISRUPTIONS = {
    "PreemptionByScheduler": "was pre-empted by a pod of higher priority",
    "EvictionByEvictionAPI": "was drained from its node",
    "TerminationByKubelet": "ended with its node, which was shut down",
}
_NODES = {
    "DeletionByTaintManager": "was lost with its node, which no longer answers",
    "DeletionByPodGC": "was lost with its node, which is gone",
}


class Ending(Frozen):
    """How a pod ended, or why it will not start.

    Args:
        kind: what the next attempt is to do about it hangs on this.
        code: of the error.
        how: completes the sentence "step … ".
        fix: what a person can do.
        node: that it was on.
        retryable: whether the same may go well another time.
    """

    kind: Kind
    code: str
    how: str
    fix: str = "see the log and the pod's events above"
    node: str | None = None
    retryable: bool = True

    @property
    def well(self) -> bool:
        """Whether all that it started with was done, as far as Kubernetes can tell."""
        return self.how == _WELL


def ended(pod: Object) -> Ending | None:
    """Of a pod that does nothing any more, or never will again."""
    status, node = pod.get("status") or {}, (pod.get("spec") or {}).get("nodeName")
    if found := _disruption(pod):
        lost = found.kind == "node"
        return found if lost or status.get("phase") in {"Failed", "Succeeded"} or terminated(pod) else None
    if status.get("reason") == "Evicted":
        return _evicted(str(status.get("message") or ""), node)
    state = terminated(pod)
    if state is not None:
        return _exited(pod, state, node)
    if status.get("phase") == "Failed":
        why = ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key)) or "for no reason given"
        return Ending(kind="ended", code="TW590", how=f"failed before it began ({why})", node=node)
    if status.get("phase") == "Succeeded":
        return Ending(kind="ended", code="TW590", how=_WELL, node=node)
    return None


def gone(last: Object | None) -> Ending:
    """Of a pod that is there no longer.

    Args:
        last: as it was when it was last seen.
    """
    node = (last or {}).get("spec", {}).get("nodeName")
    if last is not None and (found := _disruption(last) or ended(last)):
        return found
    return Ending(kind="gone", code="TW598", how="was deleted while it ran", node=node,
                  fix="find out who deletes pods; it is tried again")  # fmt: skip


def stuck(
    pod: Object, events: Sequence[Object], *, scheduled: float | None, container: str = CONTAINER
) -> Ending | None:
    """Of a pod that waits for what will not come.

    Args:
        pod: that has not started.
        events: about it, the oldest first.
        scheduled: seconds since it has a node; None without one.
        container: which of its containers counts.
    """
    node = (pod.get("spec") or {}).get("nodeName")
    waiting = state_of(pod, container).get("state", {}).get("waiting") or {}
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    late = scheduled is not None and scheduled >= PATIENCE
    said = _pulling(events, message)
    if reason in _NEVER_AN_IMAGE or (reason in _NO_IMAGE_YET and (late or _NO_SUCH_IMAGE.search(said))):
        image = _named(pod["spec"]["containers"], container).get("image")
        return Ending(
            kind="image", code="TW595", how=f"cannot have its image {image}: {_short(said)}", node=node,
            fix="name one that is there and that the node may pull: environments, image_pull_secrets of the profile",
            retryable=reason not in _NEVER_AN_IMAGE,
        )  # fmt: skip
    warned = _warning(events)
    if late and (reason in _CANNOT_START or warned):
        why = message if reason in _CANNOT_START or warned is None else f"{warned['reason']}: {warned['message']}"
        return Ending(kind="start", code="TW594", how=f"cannot start on {node}: {_short(why)}", node=node,
                      fix="make what it names, in the pod's namespace: a Secret, a claim, a ConfigMap")  # fmt: skip
    return None


def unschedulable(pod: Object) -> str | None:
    """What the scheduler says of a pod for which it has no node."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason"))
    return None


def refused(status: int, message: str) -> Ending:
    """Of a pod that Kubernetes would not take."""
    if "exceeded quota" in message:
        return Ending(kind="refused", code="TW597", how=f"is refused for the namespace's quota: {_short(message)}",
                      fix="wait for others to end, ask for less in resources:, or have the quota raised")  # fmt: skip
    if status in {400, 403, 404, 422}:
        return Ending(
            kind="refused", code="TW597", how=f"is refused by Kubernetes: {_short(message)}", retryable=False,
            fix="mend what it names: the profile's kubernetes, or the rights of Airflow's account",
        )  # fmt: skip
    return Ending(
        kind="refused", code="TW598", how=f"could not be started: {status} {_short(message)}",
        fix="is Kubernetes' API well? it is tried again",
    )  # fmt: skip


def terminated(pod: Object) -> Object | None:
    """The end of the step's container."""
    found: Object | None = state_of(pod, CONTAINER).get("state", {}).get("terminated")
    return found


def _exited(pod: Object, state: Object, node: str | None) -> Ending:
    code, reason = state.get("exitCode"), state.get("reason")
    if reason == "OOMKilled":
        own = _named((pod.get("spec") or {}).get("containers") or (), CONTAINER)
        limit = own.get("resources", {}).get("limits", {}).get("memory", "none")
        return Ending(kind="memory", code="TW596", how=f"was killed for its memory, limit {limit}", node=node,
                      fix="resources: {memory: …} with more, or after_oom: 1.5 for a retry with more")  # fmt: skip
    if (pod.get("status") or {}).get("reason") == "DeadlineExceeded":
        return Ending(kind="ended", code="TW590", how="was ended by Kubernetes after its time-out", node=node,
                      fix="timeout: … with more")  # fmt: skip
    how = f"ended with exit code {code} ({reason})" if code else _WELL
    return Ending(kind="ended", code="TW590", how=how, node=node)


def _evicted(message: str, node: str | None) -> Ending:
    own = "limit" in message and ("ephemeral" in message or "EmptyDir" in message or "emptyDir" in message)
    fix = "write less to /scratch, or resources: {ephemeral: …} with more" if own else "it is tried on another node"
    return Ending(kind="start" if own else "evicted", code="TW599", node=node, fix=fix,
                  how=f"was evicted from {node}: {_short(message)}")  # fmt: skip


def _disruption(pod: Object) -> Ending | None:
    node = (pod.get("spec") or {}).get("nodeName")
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") != "DisruptionTarget" or condition.get("status") != "True":
            continue
        reason = str(condition.get("reason"))
        if reason in _NODES:
            return Ending(kind="node", code="TW598", how=f"{_NODES[reason]} ({node})", node=node,
                          fix="it is tried on another node")  # fmt: skip
        if reason in _DISRUPTIONS and (pod.get("status") or {}).get("reason") != "Evicted":
            return Ending(kind="disrupted", code="TW598", how=f"{_DISRUPTIONS[reason]} ({node})", node=node,
                          fix="it is tried again")  # fmt: skip
    return None


def state_of(pod: Object, container: str) -> Object:
    """What Kubernetes says of one of a pod's containers; nothing where it says nothing yet."""
    return _named((pod.get("status") or {}).get("containerStatuses") or (), container)


def _named(found: Sequence[Object], name: str) -> Object:
    return next((one for one in found if one.get("name") == name), {})


def _warning(events: Sequence[Object]) -> Object | None:
    """The last one of what keeps a pod that has its node from starting."""
    return next((event for event in reversed(events) if event.get("reason") in _KEEP_FROM_STARTING), None)


def _pulling(events: Sequence[Object], message: str) -> str:
    """What a registry said stands in an event; the container's own message is but a back-off on some versions."""
    said = [str(event.get("message")) for event in events if event.get("reason") == "Failed"]
    return next((text for text in reversed(said) if "pull" in text and ":" in text), message)


def _short(text: str) -> str:
    return " ".join(text.split())[:500]
