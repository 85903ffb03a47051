"""Whether a server's pods come up, and why they do not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tradewind.servers.coming import trouble, up

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = {"started": True, "ready": False, "state": {"running": {}}}
READY = STARTED | {"ready": True}


def pod(container: dict[str, Any] | None = None, *, age: float = 5, leaves: bool = False, **status: Any) -> Any:
    metadata = {"name": "p", "creationTimestamp": (NOW - timedelta(seconds=age)).isoformat()}
    if leaves:
        metadata["deletionTimestamp"] = NOW.isoformat()
    statuses = [{"name": "server"} | container] if container else []
    spec = {"nodeName": "node-a", "containers": [{"name": "server", "image": "r/serving:1"}]}
    return {"metadata": metadata, "spec": spec, "status": {"containerStatuses": statuses} | status}


def waiting(why: str, said: str = "", **last: Any) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": why, "message": said}}, "lastState": {"terminated": last}}


def test_with_something_to_serve_it_must_answer_and_without_it_must_run() -> None:
    assert up(pod(READY), ready=True)
    assert not up(pod(STARTED), ready=True)
    assert up(pod(STARTED), ready=False)
    assert not up(pod(READY, leaves=True), ready=True)
    assert not up(pod(), ready=False)


def test_a_sidecar_is_not_taken_for_the_server() -> None:
    """KServe puts one beside it, by whose state nothing is known."""
    for container in (READY, STARTED, waiting("CrashLoopBackOff", exitCode=1)):
        found = pod(container)
        found["status"]["containerStatuses"].insert(0, {"name": "queue-proxy"} | STARTED)
        found["spec"]["containers"].insert(0, {"name": "queue-proxy", "image": "q"})
        assert up(found, ready=True) == (container is READY)
        assert (trouble(found, [], NOW) is not None) == ("waiting" in container["state"])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (pod(waiting("CrashLoopBackOff", exitCode=1, message="Traceback\n  x\nIOError: no store {\n  a,\n}\n")),
         "starts again and again: it ends with exit code 1: IOError: no store {"),
        (pod(waiting("CrashLoopBackOff", exitCode=137, reason="OOMKilled")), "was killed for its memory"),
        (pod(waiting("ImagePullBackOff", "r/serving:1: not found")), "cannot have its image r/serving:1"),
        (pod(age=60, conditions=[{"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}]),
         "finds no node: Insufficient cpu"),
        (pod(waiting("CreateContainerConfigError", 'no secret "callers"'), age=60), 'no secret "callers"'),
    ],
)  # fmt: skip
def test_what_will_not_mend_itself_is_said(found: Any, said: str) -> None:
    assert said in str(trouble(found, [], NOW))


@pytest.mark.parametrize(
    "found",
    [
        pod(STARTED),
        pod(age=3, conditions=[{"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}]),
        pod(waiting("ContainerCreating")),
        pod(waiting("CrashLoopBackOff", exitCode=1), leaves=True),
    ],
)
def test_what_may_still_come_is_waited_for(found: Any) -> None:
    assert trouble(found, [], NOW) is None
