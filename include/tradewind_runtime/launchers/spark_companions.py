"""Companions that Spark starts: a job of one task each, since a failed task ends its job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from secrets import token_hex

from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines.spark import application, connect, executors
from tradewind_runtime.engines.spark.session import session
from tradewind_runtime.launchers.tasks import TaskCompanions, companion


class SparkCompanions(TaskCompanions):
    """On the Spark of the step's settings, which is up from the beginning.

    Raises:
        StepError: TW546 where it does not start, or it is a Connect server's, or its executors are pods,
            which do not have the lake's connection.
    """

    def __init__(self, context: StepContext) -> None:
        super().__init__(context)
        settings = context.setting("spark") or {}
        if executors.asked(settings):
            raise StepError(
                "TW546", "trials do not run on executors that are pods", retryable=False, path="tune.workers",
                got="spark", fix="workers: pods, and trials are pods like the step's own", docs="guides/training.md",
            )  # fmt: skip
        if connect.asked(settings):
            raise StepError(
                "TW546", "trials do not run on a Spark Connect server", retryable=False, path="tune.workers",
                got="spark", fix="workers: pods or processes; or another settings.spark.master",
                docs="guides/training.md",
            )  # fmt: skip
        self._open, self._tag = ExitStack(), f"companions-{token_hex(4)}"
        name = f"{context.request.pipeline} {context.request.id}"
        made = session(settings, context.scratch, context.lake, name=name)
        spark = self._open.enter_context(made)
        application.note(context, spark)  # but no progress: a trial is a job of one task
        self._spark = spark.sparkContext

    @property
    def host(self) -> str:
        """The driver's address, which executors know too."""
        return str(self._spark.getConf().get("spark.driver.host"))

    @property
    def room(self) -> int:
        """Cores of the executors that are there."""
        return int(self._spark.defaultParallelism)

    def run(self, words: Sequence[str], index: int) -> None:
        """One job."""
        self._spark.addJobTag(self._tag)  # of this thread's jobs
        self._spark.parallelize([index], 1).foreachPartition(partial(_task, words))

    def close(self) -> None:
        """Spark goes too, where it was not there before."""
        self._spark.cancelJobsWithTag(self._tag)
        self._open.close()


def _task(words: Sequence[str], indices: Iterable[int]) -> None:
    (index,) = indices
    companion(words, index)
