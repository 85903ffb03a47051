"""Processes of the stack: found again by what they carry, and ended with their children."""

from __future__ import annotations

from collections.abc import Iterable

import psutil

MARK = "TRADEWIND_STACK"  # the stack that a process and all that it starts belong to
PART = "TRADEWIND_PART"


def alive(process: psutil.Process) -> bool:
    """Whether it runs; one that waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that it started, itself first."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def marked(stack: str, part: str | None = None) -> list[psutil.Process]:
    """Every process of ours that carries a stack's mark, whoever its parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        if environment.get(MARK) == stack and part in (None, environment.get(PART)) and alive(process):
            found.append(process)
    return found


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
