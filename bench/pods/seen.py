"""A watch of a namespace's pods: when what could be known of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from kubernetes.client import ApiClient, CoreV1Api  # type: ignore[import-untyped]
from kubernetes.watch import Watch  # type: ignore[import-untyped]

CREATED, NODE, RUNNING, ENDED, SUCCEEDED = "created", "node", "running", "ended", "succeeded"


def reached(pod: Mapping[str, Any]) -> set[str]:
    """How far a pod has come."""
    status = pod.get("status") or {}
    states = [one.get("state") or {} for one in status.get("containerStatuses") or ()]
    found = {CREATED}
    found |= {NODE} if pod["spec"].get("nodeName") else set()
    found |= {RUNNING} if any("running" in state for state in states) else set()
    found |= {ENDED} if any("terminated" in state for state in states) else set()
    return found | ({SUCCEEDED} if status.get("phase") == "Succeeded" else set())


@dataclass
class Seen:
    """Times by pod and stage, in a thread of its own for as long as it is entered."""

    client: ApiClient
    namespace: str
    times: dict[str, dict[str, float]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._over = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._live, name="seen", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join(10)

    def until(self, name: str, stage: str, *, seconds: float) -> float:
        """When a pod was seen to have come so far.

        Raises:
            TimeoutError: where it has not.
        """
        with self._news:
            if not self._news.wait_for(lambda: stage in self.times.get(name, {}), seconds):
                raise TimeoutError(f"{name} is not {stage} after {seconds} s")
            return self.times[name][stage]

    def _live(self) -> None:
        core = CoreV1Api(self.client)
        while not self._over:
            # 0: begin with what is there, as of now or a moment ago.
            for event in Watch().stream(
                core.list_namespaced_pod, self.namespace, resource_version="0", timeout_seconds=5
            ):
                self._note(event["raw_object"], time.time())

    def _note(self, pod: Mapping[str, Any], now: float) -> None:
        with self._news:
            times = self.times.setdefault(pod["metadata"]["name"], {})
            for stage in reached(pod):
                times.setdefault(stage, now)
            self._news.notify_all()
