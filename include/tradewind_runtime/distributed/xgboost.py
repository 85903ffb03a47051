"""XGBoost's own collective: a tracker in rank 0, and sums of histograms around a ring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tradewind_runtime.distributed import Deal, host_of

NEEDS = ("xgboost", "steps")
DEAL: Deal = "shares"
ALONE = False
_LEAVING = 10  # seconds
_LONG = 86_400  # seconds: whoever is gone is noticed by the step, and who only is slow may be


@contextmanager
def lead(addresses: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A tracker, which ranks by task."""
    from xgboost.core import XGBoostError
    from xgboost.tracker import RabitTracker

    tracker = RabitTracker(n_workers=len(addresses), host_ip=host_of(addresses[0]), sortby="task")
    tracker.start()
    try:
        yield dict(tracker.worker_args())
        with suppress(XGBoostError, ValueError):
            tracker.wait_for(_LEAVING)  # else those that leave later than rank 0 find nobody to tell
    finally:
        with suppress(XGBoostError):  # where not everybody came, or stayed
            tracker.free()


@contextmanager
def join(where: dict[str, Any], rank: int, workers: int) -> Iterator[None]:
    """The communicator."""
    from xgboost import collective

    del workers
    with collective.CommunicatorContext(**where, dmlc_task_id=f"{rank:04d}", dmlc_timeout=_LONG):
        assert collective.get_rank() == rank, "the tracker sorts by task"
        yield


def released(model: Any) -> Any:
    """It needs nobody."""
    return model
