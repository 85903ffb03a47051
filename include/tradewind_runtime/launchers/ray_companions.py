"""Companions that Ray starts: a task each, of one core on a cluster that is there, of none on one of the step's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tradewind_runtime.context import StepContext
from tradewind_runtime.distributed import needed
from tradewind_runtime.distributed import ray as meeting
from tradewind_runtime.launchers.tasks import TaskCompanions, companion

_LOOPBACK = "127.0.0.1"


class RayCompanions(TaskCompanions):
    """On the Ray of `settings.ray.address`, else on one that begins and ends with the step.

    Raises:
        StepError: TW544 where the step's environment has no Ray.
    """

    def __init__(self, context: StepContext) -> None:
        super().__init__(context)
        needed("tune.workers", *meeting.NEEDS)
        self._open = ExitStack()
        self._address: str | None = (context.setting("ray") or {}).get("address")
        self._open.enter_context(_joined(self._address) if self._address else meeting.lead([f"{_LOOPBACK}:0"]))

    @property
    def host(self) -> str:
        """By which Ray's nodes reach this process."""
        if self._address is None:
            return _LOOPBACK
        return _own_address(self._address)

    @property
    def room(self) -> int:
        """Cores of the cluster; a Ray of the step's own takes any number."""
        import ray

        return 10_000 if self._address is None else int(ray.cluster_resources().get("CPU", 0))

    def run(self, words: Sequence[str], index: int) -> None:
        """One task."""
        import ray

        task: Any = ray.remote(num_cpus=1 if self._address else 0, max_retries=0)(companion)
        ray.get(task.remote(tuple(words), index))

    def close(self) -> None:
        """Ray ends a driver's tasks with it."""
        self._open.close()


@contextmanager
def _joined(address: str) -> Iterator[None]:
    import ray

    if address.startswith(_LOOPBACK):
        meeting.stay_here()
    ray.init(address=address, namespace="tradewind", configure_logging=False)
    try:
        yield
    finally:
        ray.shutdown()


def _own_address(of: str) -> str:
    """Of the interface by which another machine is reached; nothing is sent."""
    host, _, port = of.rpartition("//")[2].rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((host, int(port)))
        return str(way.getsockname()[0])
