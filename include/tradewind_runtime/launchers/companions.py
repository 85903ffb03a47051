"""Companions: more of what a step runs in. In a pod they are pods like it, elsewhere processes; the step says which
words follow `python -m tradewind_runtime.companion`, and each finds its number in JOB_COMPLETION_INDEX.

They end with the step, however it ends: a pod's belong to it (`launchers.jobs`), a process's die with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from tradewind_runtime.launchers.pod.names import ADDRESS, NAMESPACE, POD

INDEX = "JOB_COMPLETION_INDEX"  # as an indexed Job names it
MODULE = "tradewind_runtime.companion"
RESTARTS = 3  # of each, where the work can go on without it


class Companions(Protocol):
    """So many of them, from `start` to `stop`."""

    @property
    def host(self) -> str:
        """The step's address, as they know it."""

    def start(self, words: Sequence[str], count: int, *, restarts: int = 0) -> None:
        """Start them all.

        Raises:
            StepError: TW589 where they may not be started.
        """

    def tend(self) -> bool:
        """Start again whoever has ended and may be; whether the work can go on: with restarts while any is left."""

    def how(self, index: int) -> str:
        """How the one of a number ended, as far as anybody knows: `was killed by SIGKILL`."""

    def missing(self) -> str:
        """Why those that have not come have not, as far as anybody knows."""

    def stop(self) -> None:
        """End them all."""


def companions() -> Companions:
    """Of the step that this process runs."""
    if POD not in os.environ:
        return ProcessCompanions()
    from tradewind_runtime.launchers.jobs import Api, JobCompanions  # needs httpx, which Airflow's side has no use for

    return JobCompanions(Api(os.environ[NAMESPACE]), os.environ[POD], os.environ[ADDRESS])


@dataclass
class ProcessCompanions:
    """Processes of this machine, in the step's own group: whoever ends that ends them."""

    host: str = "127.0.0.1"
    _words: list[str] = field(default_factory=list, init=False)
    _left: list[int] = field(default_factory=list, init=False)  # restarts of each
    _any: bool = field(default=False, init=False)  # are enough
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list, init=False)
    _ended: dict[int, int] = field(default_factory=dict, init=False)  # exit codes of those that were replaced

    def start(self, words: Sequence[str], count: int, *, restarts: int = 0) -> None:
        """Start them all."""
        self._words, self._left, self._any = list(words), [restarts] * count, restarts > 0
        self._processes = [self._one(index) for index in range(count)]

    def tend(self) -> bool:
        """Start again whoever failed and may be."""
        for index, process in enumerate(self._processes):
            if process.poll() and self._left[index]:
                self._left[index] -= 1
                self._ended[index] = process.returncode
                self._processes[index] = self._one(index)
        codes = [process.poll() for process in self._processes]
        return any(code is None for code in codes) if self._any else not any(codes)

    def how(self, index: int) -> str:
        """By its exit code."""
        process = self._processes[index]
        with suppress(subprocess.TimeoutExpired):
            process.wait(2)
        code = self._ended.pop(index, 0) if process.poll() is None else process.returncode
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def missing(self) -> str:
        """Those that run may still be importing."""
        codes = [process.poll() for process in self._processes]
        return ", ".join(f"{index}: {'runs' if code is None else code}" for index, code in enumerate(codes))

    def stop(self) -> None:
        """Kill and bury them."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    @property
    def pids(self) -> list[int]:
        """Of the processes."""
        return [process.pid for process in self._processes]

    def _one(self, index: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", MODULE, *self._words, "--parent", str(os.getpid())]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=os.environ | {INDEX: str(index)})
