"""Processes of the stack: found again by what they carry, and ended with their children."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

MARK = "TRADEWIND_STACK"  # the stack that a process and all that it starts belong to
PART = "TRADEWIND_PART"


def alive(process: psutil.Process) -> bool:
    """Whether it runs; one that waits to be reaped does not."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that it started, itself first."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True)
class Trace:
    """How a stack's processes are known, whoever their parent is by now.

    By the mark in their environment, which a child in a session of its own still has; and by the supervisor's session,
    since a process that gives itself a title (Airflow's do) writes over its environment. A part is a process group.
    """

    mark: str
    session: int | None = None
    part: str | None = None
    group: int | None = None

    def has(self, process: psutil.Process) -> bool:
        """Whether a process is one of them."""
        try:
            if self.session and os.getsid(process.pid) == self.session:
                return self.part is None or os.getpgid(process.pid) == self.group
            environment = process.environ()
        except (psutil.Error, OSError):
            return False
        return environment.get(MARK) == self.mark and self.part in (None, environment.get(PART))

    def find(self) -> list[psutil.Process]:
        """All of them that live."""
        return [process for process in psutil.process_iter() if self.has(process) and alive(process)]


def end(processes: Iterable[psutil.Process], *, patience: float) -> list[psutil.Process]:
    """Ask them to end, kill those that have not after a while; returns those that even so live."""
    mine = [process for process in processes if alive(process)]
    for process in mine:
        _signal(process, kill=False)
    rest = _wait(mine, patience)
    for process in rest:
        _signal(process, kill=True)
    return _wait(rest, 5)


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.Error:
        return


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    _, rest = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in rest if alive(process)]
