"""Jobs that wait for executors which do not come: Spark itself waits for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark import SparkContext

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines.spark.watching import watched


@contextmanager
def ended(context: SparkContext, patience: float) -> Iterator[None]:
    """End jobs that wait for so long while there is no executor, and say so in place of what that gives.

    Raises:
        StepError: TW546 where none came.
    """
    waiting = _Waiting(context, patience)
    try:
        with watched("pending-executors", waiting.look):
            yield
    except Exception as error:
        if not waiting.gave_up:
            raise
        raise _none_came(context, patience) from error
    if waiting.gave_up:  # other threads had the jobs
        raise _none_came(context, patience)


def _none_came(context: SparkContext, patience: float) -> StepError:
    return StepError(
        "TW546", f"no executor of {context.master} came within {patience:g} s", path="settings.spark.executors",
        fix="does a worker have so much room? the master's page says; settings.spark.pending_timeout waits longer",
    )  # fmt: skip


class _Waiting:
    """For how long jobs have waited."""

    def __init__(self, context: SparkContext, patience: float) -> None:
        self.gave_up = False
        self._context, self._patience, self._since = context, patience, time.monotonic()

    def look(self) -> None:
        if not self.gave_up:
            if self._there() or not self._context.statusTracker().getActiveJobsIds():
                self._since = time.monotonic()
            self.gave_up = time.monotonic() - self._since > self._patience
        if self.gave_up:  # for good: an executor that comes now finds jobs that are cancelled
            self._context.cancelAllJobs()

    def _there(self) -> bool:
        """Whether there is an executor."""
        known = self._context._jsc.sc().getExecutorMemoryStatus()  # noqa: SLF001 - Python has no name for it
        return int(known.size()) > 1  # the driver is one
