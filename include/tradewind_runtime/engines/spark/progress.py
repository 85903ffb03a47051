"""How far Spark's jobs are, as lines of the step's log. Who waits sees that something moves, and what stands still."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

from pyspark import SparkContext
from pyspark.core.status import SparkStageInfo
from pyspark.sql import SparkSession

from tradewind_runtime.engines.spark.watching import watched

if TYPE_CHECKING:
    from pyspark.sql.connect.shell.progress import ProgressHandler, StageInfo

log = logging.getLogger("tradewind")
EVERY = 5.0  # seconds from one line to the next, and for which there must have been something to do before the first
_MOST = 3  # stages in a line


@contextmanager
def told(context: SparkContext) -> Iterator[None]:
    """Tell of stages that are under way, where they last and as they get on."""
    with watched("spark-progress", _Progress(context).look):
        yield


@contextmanager
def told_by(spark: SparkSession) -> Iterator[None]:
    """The same, of a session of Spark Connect, whose server tells by itself."""
    at, due = "", 0.0

    def hear(stages: Iterable[StageInfo] | None, inflight_tasks: int, operation_id: str | None, done: bool) -> None:
        nonlocal at, due
        if at != operation_id:  # another query, of which nothing is said before it has lasted
            at, due = operation_id or "", time.monotonic() + EVERY
        active = [stage for stage in stages or () if not stage.done]
        if active and not done and time.monotonic() >= due:
            tasks, completed = sum(one.num_tasks for one in active), sum(one.num_completed_tasks for one in active)
            log.info("Spark: %d stages, %d of %d tasks, %d running", len(active), completed, tasks, inflight_tasks)
            due = time.monotonic() + EVERY

    handler = cast("ProgressHandler", hear)  # an abstract class, which a function serves as well
    spark.registerProgressHandler(handler)
    try:
        yield
    finally:
        with suppress(ValueError):  # a job has cleared all of them
            spark.removeProgressHandler(handler)


class _Progress:
    """What was told last, and when it is time to tell more; None while Spark has nothing to do."""

    def __init__(self, context: SparkContext) -> None:
        self._tracker = context.statusTracker()
        self._last = ""
        self._due: float | None = None

    def look(self) -> None:
        now = time.monotonic()
        if not (active := self._tracker.getActiveStageIds()):
            self._due = None
        elif self._due is None:
            self._due = now + EVERY
        elif now >= self._due:
            stages = [stage for id in active if (stage := self._tracker.getStageInfo(id)) is not None]
            if stages and (says := line(stages)) != self._last:
                log.info("%s", says)
                self._last, self._due = says, now + EVERY


def line(stages: Sequence[SparkStageInfo]) -> str:
    """Of stages that are under way."""
    more = f"; {len(stages) - _MOST} more stages" if len(stages) > _MOST else ""
    return f"Spark: {'; '.join(map(_stage, stages[:_MOST]))}{more}"


def _stage(stage: SparkStageInfo) -> str:
    failed = f", {stage.numFailedTasks} failed" if stage.numFailedTasks else ""
    done = f"{stage.numCompletedTasks} of {stage.numTasks} tasks"
    return f"stage {stage.stageId}, {done}, {stage.numActiveTasks} running{failed}"
