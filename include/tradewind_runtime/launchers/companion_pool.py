"""The pool of `launchers.pool`, with companions as its workers: they call when they are there, and may be lost.

What a worker had under way when it was lost goes to another one, once. A worker whose pool is gone ends at once, in
the middle of a request too: whoever goes on with the work would do that request again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from tradewind_runtime.context import StepContext
from tradewind_runtime.launchers.companions import Companions, companions
from tradewind_runtime.launchers.lines import Line, heard
from tradewind_runtime.launchers.pool import Pool, Worker, serve
from tradewind_runtime.launchers.team import Post, Team

_LOOK = 0.5  # seconds from one look at who has called to the next
_TEND = 5.0  # seconds from one look at those that have not to the next
Workers = Literal["pods", "spark", "ray"]


def started_by(workers: Workers, context: StepContext) -> Companions:
    """Companions that a system starts.

    Raises:
        StepError: TW544, TW546 where it is not there.
    """
    if workers == "spark":
        from tradewind_runtime.launchers.spark_companions import SparkCompanions

        return SparkCompanions(context)
    if workers == "ray":
        from tradewind_runtime.launchers.ray_companions import RayCompanions

        return RayCompanions(context)
    return companions()


def follow(line: Line, post: Post, index: int) -> None:
    """A companion's life: a request in, a result or a reason out."""
    del index  # they are all the same
    serve(line, post.preload)


@dataclass
class CompanionPool(Pool):
    """So many companions, and requests that wait for one."""

    team: Team = field(kw_only=True)
    _tended: float = field(default_factory=time.monotonic, init=False)

    @classmethod
    def of(cls, context: StepContext, workers: Workers, size: int, preload: tuple[str, ...]) -> CompanionPool:
        """Of a step."""
        documents = context.lake.documents
        team = Team(context.request, documents, "trials", size, preload, make=lambda: started_by(workers, context))
        return cls(size, preload, team=team)

    def __enter__(self) -> Self:
        self.team.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.team.__exit__(kind, error, trace)
        for worker in self._workers:
            worker.pipe.close()

    def warm(self) -> None:
        """Wait until all have come."""
        while len(self._workers) < self.size:
            self._welcome(_LOOK)

    def _heard(self) -> list[Worker]:
        """Of those that are there; meanwhile others may come, and those that do nothing may go."""
        self._welcome(0.0 if self._workers else _LOOK)
        said = heard((worker.pipe for worker in self._workers), _LOOK) if self._workers else []
        those = [worker for worker in self._workers if worker.pipe in said]
        for worker in [one for one in those if one.task is None]:
            self._idle(worker)
        return [worker for worker in those if worker.task is not None]

    def _welcome(self, timeout: float) -> None:
        for index, line in self.team.switchboard.calls(timeout):
            self._workers.append(Worker(line, index=index))
        self._hand_out()
        if time.monotonic() - self._tended < _TEND:
            return
        self._tended = time.monotonic()
        alive = self.team.companions.tend()
        if not self._workers and (not alive or self.team.waited > self.team.patience):
            raise self.team.late(0)

    def _idle(self, worker: Worker) -> None:
        """Without a request, it says that it is ready, or it is gone."""
        try:
            worker.pipe.recv()
            worker.ready = True
        except (EOFError, OSError):
            self._replace(worker)

    def _how(self, worker: Worker) -> str:
        return self.team.companions.how(worker.index)

    def _replace(self, worker: Worker) -> None:
        """Another one calls, if there may be another."""
        worker.pipe.close()
        self._workers.remove(worker)
        self.team.companions.tend()
