"""XGBoost's own collective: a tracker in rank 0, and sums of histograms around a ring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EVEN = False


@contextmanager
def lead(host: str, workers: int) -> Iterator[dict[str, Any]]:
    """A tracker, which ranks by task."""
    from xgboost.tracker import RabitTracker

    tracker = RabitTracker(n_workers=workers, host_ip=host, sortby="task")
    tracker.start()
    yield dict(tracker.worker_args())


@contextmanager
def join(where: dict[str, Any], rank: int, workers: int) -> Iterator[None]:
    """The communicator. It does not look at the clock: whoever is gone is noticed by the step."""
    from xgboost import collective

    del workers
    with collective.CommunicatorContext(**where, dmlc_task_id=f"{rank:04d}", dmlc_timeout=0):
        assert collective.get_rank() == rank, "the tracker sorts by task"
        yield
