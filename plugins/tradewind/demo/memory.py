"""The most memory that the stack and the demo have held at a time, of all their processes together."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

import psutil

from tradewind.demo.lines import Line
from tradewind.dev import processes
from tradewind.dev.memory import GIB
from tradewind.dev.supervisor import Supervisor

MOST = 8 * GIB  # what the whole demo may take
EVERY = 2.0  # seconds


@dataclass
class Memory:
    """Looks every two seconds, beside what is measured."""

    home: Path
    peak: int = 0
    _over: Event = field(default_factory=Event, repr=False)
    _thread: Thread = field(init=False, repr=False)

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._watch, name="memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, held(self.home))
            if self._over.wait(EVERY):
                return

    def line(self) -> Line:
        """Whether it is as little as was promised; a peak of nothing was not measured."""
        return Line("memory of all parts at most", "this machine", f"{self.peak / GIB:.1f} GB", 0 < self.peak <= MOST)


def held(home: Path) -> int:
    """Bytes that the stack and this process hold now, with all that they have started."""
    supervisor = Supervisor(home).process()
    roots = [os.getpid(), *([supervisor.pid] if supervisor else [])]
    found = {process.pid: process for root in roots for process in processes.tree(root)}
    return sum(map(share, found.values()))


def share(process: psutil.Process) -> int:
    """A process's own part: a page that many share is divided among them, so that a sum counts it once."""
    try:
        return _own(process)
    except psutil.Error:  # it has ended meanwhile
        return 0


def _own(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
    except psutil.AccessDenied:
        plain = process.memory_info()
        return int(plain.rss - getattr(plain, "shared", 0))
    return int(getattr(full, "pss", full.uss))  # macOS does not divide
