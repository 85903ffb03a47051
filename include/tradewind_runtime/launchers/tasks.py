"""Companions that are tasks of another system: it finds a place for each, which runs it as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from tradewind_runtime.context import StepContext
from tradewind_runtime.launchers.companions import INDEX, MODULE

_PATIENCE = 10.0  # seconds from a companion's end to what the other system says of it
_ENDED = re.compile(r"companion (was killed by SIG\w+|ended with exit code \d+)")


@dataclass
class TaskCompanions(ABC):
    """One task each, so that one that is lost takes none of the others with it; waited for by a thread each."""

    context: StepContext
    _threads: list[threading.Thread] = field(default_factory=list, init=False)
    _ended: dict[int, str] = field(default_factory=dict, init=False)  # how the last one of a number did
    _any: bool = field(default=False, init=False)  # are enough
    _over: bool = field(default=False, init=False)

    @property
    @abstractmethod
    def host(self) -> str:
        """The step's address, as the tasks know it."""

    @property
    @abstractmethod
    def room(self) -> int:
        """How many tasks can run at once, as far as anybody knows."""

    @abstractmethod
    def run(self, words: Sequence[str], index: int) -> None:
        """Have one run, to its end.

        Raises:
            Exception: as the other system tells of it.
        """

    @abstractmethod
    def close(self) -> None:
        """End all that run."""

    def start(self, words: Sequence[str], count: int, *, restarts: int = 0) -> None:
        """Have them all run, as there is room."""
        if self.room < count:
            self.context.log.warning("there is room for %d of %d companions at once", self.room, count)
        self._any = restarts > 0
        follow = partial(self._follow, words=tuple(words), attempts=1 + restarts)
        self._threads = [threading.Thread(target=follow, args=(index,), daemon=True) for index in range(count)]
        for thread in self._threads:
            thread.start()

    def tend(self) -> bool:
        """Whoever failed and may be is started again by its thread."""
        return any(thread.is_alive() for thread in self._threads) if self._any else not self._ended

    def how(self, index: int) -> str:
        """As the place where it ran saw it, or as the other system did, where that is gone too."""
        until = time.monotonic() + _PATIENCE
        while index not in self._ended and time.monotonic() < until:
            time.sleep(0.1)
        return self._ended.pop(index, "was lost")

    def missing(self) -> str:
        """Why they ended; those that have not come may wait for room."""
        return "; ".join(f"{index}: {how}" for index, how in sorted(self._ended.items())) or "they wait for room"

    def stop(self) -> None:
        """End them all."""
        self._over = True
        try:
            self.close()
        finally:
            for thread in self._threads:
                thread.join(_PATIENCE)

    def _follow(self, index: int, words: tuple[str, ...], attempts: int) -> None:
        for _ in range(attempts):
            how = "ended although the step had not"
            try:
                self.run(words, index)
            except Exception as error:  # whatever the other system has for it
                said = _ENDED.search(str(error))
                how = said[1] if said else f"was lost: {str(error).strip().partition(chr(10))[0]}"
            if self._over:
                return
            self._ended[index] = how


def companion(words: Sequence[str], index: int) -> None:
    """Where the task runs: a process that dies with the task's own.

    Raises:
        RuntimeError: it was killed, or ended badly.
    """
    command = [sys.executable, "-m", MODULE, *words, "--parent", str(os.getpid())]
    told = os.environ | {INDEX: str(index)}
    code = subprocess.run(command, stdin=subprocess.DEVNULL, env=told, check=False).returncode
    if code:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise RuntimeError(f"companion {how}")
