"""What became of a pod, from what Kubernetes says of it."""

from __future__ import annotations

from typing import Any

import pytest

from tradewind.pods.ending import PATIENCE, ended, gone, refused, stuck, unschedulable

LIMITS = {"resources": {"limits": {"memory": "512Mi"}}, "image": "registry.example.com/steps:1", "name": "step"}


def pod(phase: str, state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    containers = [{"name": "step", "state": state}] if state is not None else []
    return {"spec": {"nodeName": "node-a", "containers": [LIMITS]},
            "status": {"phase": phase, "containerStatuses": containers, **status}}  # fmt: skip


def exited(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason}}


def target(reason: str) -> list[dict[str, str]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason}]


@pytest.mark.parametrize(
    ("found", "kind", "code", "how"),
    [
        (pod("Succeeded", exited(0, "Completed")), "ended", "TW590", "ended with exit code 0"),
        (pod("Failed", exited(3)), "ended", "TW590", "ended with exit code 3 (Error)"),
        (pod("Failed", exited(137, "OOMKilled")), "memory", "TW596", "was killed for its memory, limit 512Mi"),
        (pod("Failed", exited(137), reason="DeadlineExceeded"), "ended", "TW590", "time-out"),
        (pod("Failed", reason="Evicted", message="The node was low on memory."), "evicted", "TW599", "low on"),
        (
            pod("Failed", exited(137), reason="Evicted", message='Usage of EmptyDir volume "tmp" exceeds the limit.'),
            "start", "TW599", "exceeds the limit",
        ),
        (pod("Failed", reason="UnexpectedAdmissionError", message="no GPU"), "ended", "TW590", "no GPU"),
        (pod("Failed", exited(143), conditions=target("PreemptionByScheduler")), "disrupted", "TW598", "pre-empted"),
        (pod("Failed", exited(143), conditions=target("EvictionByEvictionAPI")), "disrupted", "TW598", "drained"),
        (pod("Running", {"running": {}}, conditions=target("DeletionByTaintManager")), "node", "TW598", "no longer"),
    ],
)  # fmt: skip
def test_how_it_ended(found: dict[str, Any], kind: str, code: str, how: str) -> None:
    ending = ended(found)
    assert ending is not None
    assert (ending.kind, ending.code, ending.node) == (kind, code, "node-a")
    assert how in ending.how
    assert ending.fix


def test_one_that_goes_on_has_not_ended() -> None:
    assert ended(pod("Pending")) is None
    assert ended(pod("Running", {"running": {"startedAt": "…"}})) is None
    # Asked to go: it may still leave its result, or a checkpoint.
    assert ended(pod("Running", {"running": {}}, conditions=target("PreemptionByScheduler"))) is None


def test_one_that_is_gone_ended_as_it_was_last_seen() -> None:
    last = pod("Running", {"running": {}}, conditions=target("PreemptionByScheduler"))
    assert gone(last).kind == "disrupted"
    assert gone(pod("Running", {"running": {}})).how == "was deleted while it ran"
    assert gone(None).retryable


def test_no_node() -> None:
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}
    assert unschedulable(pod("Pending", conditions=[said])) == "0/2 nodes are available"
    assert unschedulable(pod("Pending", conditions=[said | {"status": "True"}])) is None


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return pod("Pending", {"waiting": {"reason": reason, "message": message}})


def warning(reason: str) -> dict[str, str]:
    return {"type": "Warning", "reason": reason, "message": "no claim"}


PULL = {"type": "Warning", "reason": "Failed", "message": 'Failed to pull image "x": … x: not found'}
SLOW = PULL | {"message": 'Failed to pull image "x": dial tcp: i/o timeout'}


@pytest.mark.parametrize(
    ("found", "events", "scheduled", "kind"),
    [
        (waiting("InvalidImageName"), [], 0.0, "image"),
        (waiting("ErrImagePull", "x: not found"), [], 1.0, "image"),
        (waiting("ImagePullBackOff", "Back-off pulling image"), [PULL], 1.0, "image"),
        (waiting("ImagePullBackOff", "Back-off pulling image"), [SLOW], 1.0, None),
        (waiting("ImagePullBackOff", "Back-off pulling image"), [SLOW], PATIENCE, "image"),
        (waiting("CreateContainerConfigError", 'secret "s" not found'), [], 1.0, None),
        (waiting("CreateContainerConfigError", 'secret "s" not found'), [], PATIENCE, "start"),
        (waiting("ContainerCreating"), [], 500.0, None),
        (waiting("ContainerCreating"), [warning("FailedMount")], PATIENCE, "start"),
        (waiting("ContainerCreating"), [warning("FailedScheduling")], PATIENCE, None),
    ],
)  # fmt: skip
def test_what_will_not_come(found: dict[str, Any], events: list[Any], scheduled: float, kind: str | None) -> None:
    ending = stuck(found, events, scheduled=scheduled)
    assert (ending and ending.kind) == kind


def test_what_kubernetes_refuses() -> None:
    quota = refused(403, 'pods "x" is forbidden: exceeded quota: team, requested: limits.memory=9Gi')
    assert (quota.code, quota.retryable) == ("TW597", True)
    rights = refused(403, 'pods is forbidden: User "airflow" cannot create resource "pods"')
    assert (rights.code, rights.retryable) == ("TW597", False)
    assert refused(503, "no answer").retryable
