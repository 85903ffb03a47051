"""Airflow's local executor, in which the scheduler naps: briefly while tasks come and go, longer while nothing runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from airflow.executors.local_executor import LocalExecutor

BRIEF, LONG = 0.05, 0.25  # seconds
CALM = 2.0  # seconds without a task, after which nothing is under way that a long nap would hold up


class NappingExecutor(LocalExecutor):
    """Each look of the scheduler costs some 20 ms of a core: twenty a second are a third of one, and few are needed."""

    _begun: set[Any]  # whatever has been handed to a worker and has not come back
    _worked = 0.0  # when there was something last

    def start(self) -> None:
        """With nothing begun."""
        self._begun = set()
        super().start()

    def _process_workloads(self, workload_list: Sequence[Any]) -> None:
        self._begun |= {workload.key for workload in workload_list}
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]

    def change_state(self, key: Any, *args: Any, **kwargs: Any) -> None:
        """It has come back."""
        self._begun.discard(key)
        super().change_state(key, *args, **kwargs)

    def sync(self) -> None:
        """Nap, then hear what has come back."""
        if self._begun:
            self._worked = time.monotonic()
        calm = time.monotonic() - self._worked > CALM
        time.sleep(LONG if calm else BRIEF)
        super().sync()
