"""Warm workers of this machine: requests that are many and short, such as a sweep's trials.

Each worker is a process that has imported what its requests need. It dies with its parent, and what it prints goes
where the parent's output goes. Runs in one thread: the parent's main one, since Linux ends a child with the thread
that started it.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from tradewind_runtime.contract.errors import Problem, StepError
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.launchers.lines import Pipe, heard
from tradewind_runtime.launchers.orphans import die_with

log = logging.getLogger("tradewind")
ATTEMPTS = 2  # a worker may be killed for memory that another one held
READY = "ready"  # a worker's first word


@dataclass(frozen=True)
class Done:
    """What became of one request."""

    key: int
    result: StepResult | None = None
    error: StepError | None = None
    began: datetime | None = None


@dataclass
class Task:
    """A request, and what has been tried of it."""

    key: int
    request: StepRequest
    attempts: int = 0
    began: datetime | None = None  # the first attempt


@dataclass(eq=False)
class Worker:
    """One that does a request at a time."""

    pipe: Pipe
    process: Any = None  # of this machine's workers
    index: int = 0  # of a companion
    task: Task | None = None
    ready: bool = False  # has imported what it is to

    def begin(self) -> None:
        """Its request is being done, as soon as it is ready."""
        if self.ready and self.task is not None and self.task.began is None:
            self.task.began = datetime.now(UTC)


@dataclass
class Pool:
    """So many workers, and requests that wait for one.

    Args:
        size: workers.
        preload: modules that they import before the first request.
        threads: of each worker, for libraries that start their own.
    """

    size: int
    preload: Sequence[str] = ()
    threads: int = 1
    _workers: list[Worker] = field(default_factory=list, init=False)
    _waiting: deque[Task] = field(default_factory=deque, init=False)

    def __enter__(self) -> Self:
        self._workers = [self._start() for _ in range(self.size)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.pipe.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()

    @property
    def pids(self) -> list[int]:
        """The workers' processes."""
        return [worker.process.pid for worker in self._workers]

    @property
    def pending(self) -> int:
        """Requests that have not come back yet."""
        return len(self._waiting) + sum(worker.task is not None for worker in self._workers)

    @property
    def free(self) -> int:
        """Workers with nothing to do, less the requests that wait for one."""
        return self.size - self.pending

    @property
    def under_way(self) -> list[datetime]:
        """When the requests began that workers are doing."""
        return [worker.task.began for worker in self._workers if worker.task and worker.task.began]

    def warm(self) -> None:
        """Wait until every worker has imported what it is to."""
        for worker in self._workers:
            worker.pipe.poll(None)

    def submit(self, key: int, request: StepRequest) -> None:
        """Have a request done by the next free worker."""
        self._waiting.append(Task(key, request))
        self._hand_out()

    def next(self) -> list[Done]:
        """Wait until at least one request has come back."""
        done: list[Done] = []
        while not done and self.pending:
            done += [found for worker in self._heard() if (found := self._collect(worker)) is not None]
            self._hand_out()
        return done

    def _heard(self) -> list[Worker]:
        """Those with a task who have something to say, or have died; waits for the first."""
        busy = [worker for worker in self._workers if worker.task is not None]
        said = heard(worker.pipe for worker in busy)
        return [worker for worker in busy if worker.pipe in said]

    def _hand_out(self) -> None:
        for worker in list(self._workers):
            if worker.task is not None or not self._waiting:
                continue
            task = self._waiting.popleft()
            task.attempts += 1
            try:
                worker.pipe.send(task.request.model_dump_json())
                worker.task = task
                worker.begin()
            except OSError:  # it died while it had nothing to do
                task.attempts -= 1
                self._waiting.appendleft(task)
                self._replace(worker)

    def _collect(self, worker: Worker) -> Done | None:
        task = worker.task
        assert task is not None
        worker.task = None
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            return self._died(worker, task)
        if answer == READY:
            worker.task, worker.ready = task, True
            worker.begin()
            return None
        result, problems, retryable = answer
        if result is not None:
            return Done(task.key, StepResult.model_validate_json(result), began=task.began)
        error = StepError(problems[0]["code"], problems[0]["message"], retryable=retryable)
        error.problems = tuple(Problem.model_validate(problem) for problem in problems)
        error.args = ("\n".join(str(problem) for problem in error.problems),)
        if retryable and task.attempts < ATTEMPTS:
            self._waiting.append(task)
            return None
        return Done(task.key, error=error, began=task.began)

    def _died(self, worker: Worker, task: Task) -> Done | None:
        how = self._how(worker)
        self._replace(worker)
        log.warning("%s: its worker %s (attempt %d of %d)", task.request.id, how, task.attempts, ATTEMPTS)
        if task.attempts < ATTEMPTS:
            self._waiting.append(task)
            return None
        return Done(
            task.key,
            error=StepError(
                "TW591",
                f"{task.request.id}: its worker {how}, twice",
                fix="a smaller `parallel` in tune, or more train.resources.memory",
            ),
            began=task.began,
        )

    def _how(self, worker: Worker) -> str:
        worker.process.join(5)
        code = worker.process.exitcode
        return f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"

    def _replace(self, worker: Worker) -> None:
        worker.pipe.close()
        worker.process.kill()
        worker.process.join()
        self._workers[self._workers.index(worker)] = self._start()

    def _start(self) -> Worker:
        context = multiprocessing.get_context("spawn")  # a fork would share locks of threads that it does not have
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, tuple(self.preload), self.threads, os.getpid()))
        process.start()
        theirs.close()
        return Worker(ours, process)


def _work(pipe: Connection, preload: Sequence[str], threads: int, parent: int) -> None:
    """A worker's life: a request in, a result or a reason out."""
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = str(threads)
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    serve(pipe, preload)


def serve(pipe: Pipe, preload: Sequence[str]) -> None:
    """Do one request after another, until nobody is there who asks."""
    for name in preload:
        importlib.import_module(name)
    try:
        pipe.send(READY)
        while True:
            pipe.send(_do(pipe.recv()))
    except (EOFError, OSError):
        return


def _do(text: str) -> tuple[str | None, list[dict[str, Any]], bool]:
    from tradewind_runtime.execute import execute

    try:
        return execute(StepRequest.model_validate_json(text)).model_dump_json(), [], False
    except StepError as error:
        return None, [problem.model_dump(mode="json") for problem in error.problems], error.retryable
    except Exception as error:  # whatever it is, the parent is to hear of it
        traceback.print_exc()
        return None, [{"code": "TW500", "message": f"{type(error).__name__}: {error}"}], True
