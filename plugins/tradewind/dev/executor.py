"""Airflow's local executor, in which the scheduler naps until there may be something to do."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from airflow.configuration import conf
from airflow.executors.local_executor import LocalExecutor

TICK = 0.02  # seconds between two glances at the database
AT_WORK, CALM = 0.25, 1.0  # seconds of a nap that nothing ends
WHILE = 2.0  # seconds without a task, after which nothing is under way


class NappingExecutor(LocalExecutor):
    """Each look of the scheduler costs some 20 ms of a core: twenty a second are a third of one, and few are needed.

    What it looks for comes by the database, or from a worker. SQLite tells in microseconds whether another connection
    has written, so that is what ends a nap; what was written during the look before waits until its end.
    """

    _begun: set[Any]  # whatever has been handed to a worker and has not come back
    _worked = 0.0  # when there was something last
    _database: sqlite3.Connection | None = None

    def start(self) -> None:
        """With nothing begun."""
        self._begun = set()
        super().start()
        # After the workers are there: a connection does not outlive a fork.
        path = conf.get("database", "sql_alchemy_conn").removeprefix("sqlite:///")
        self._database = sqlite3.connect(path, timeout=0)

    def _process_workloads(self, workload_list: Sequence[Any]) -> None:
        self._begun |= {workload.key for workload in workload_list}
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]

    def change_state(self, key: Any, *args: Any, **kwargs: Any) -> None:
        """It has come back."""
        self._begun.discard(key)
        super().change_state(key, *args, **kwargs)

    def sync(self) -> None:
        """Nap, then hear what has come back."""
        now = time.monotonic()
        if self._begun:
            self._worked = now
        end, before = now + (CALM if now - self._worked > WHILE else AT_WORK), self._written()
        while time.monotonic() < end and self.result_queue.empty() and self._written() == before:
            time.sleep(TICK)
        super().sync()

    def _written(self) -> object:
        """Another each time that somebody else has written into the database."""
        assert self._database is not None, "the executor has been started"
        try:
            return self._database.execute("pragma data_version").fetchone()
        except sqlite3.OperationalError:  # locked: somebody is at it
            return object()
