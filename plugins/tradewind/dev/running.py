"""One server as a plain child process: what tests start and stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from tradewind.dev import processes
from tradewind.dev.servers.base import Server
from tradewind_runtime.contract.errors import Problem, TradewindError

S = TypeVar("S", bound=Server)


@dataclass
class Running(Generic[S]):
    """A server that was started and was healthy then."""

    server: S
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        """End it and its children, kindly and then not."""
        processes.end(processes.tree(self.process.pid), patience=self.server.grace)
        self.process.wait(10)
        self.server.tidy()

    def kill(self) -> None:
        """Kill it by -9; nothing is told to its children."""
        self.process.kill()
        self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(server: S) -> Running[S]:
    """Start a server, wait until it is healthy, and stop it again where it does not get so.

    Raises:
        TradewindError: TW310 where it ended or took too long; with the end of its log.
    """
    server.prepare()
    log = server.folder / f"{server.name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tradewind.dev.launch", *server.command()],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **server.environment()}, cwd=server.folder,
        )  # fmt: skip
    running = Running(server, process, log)
    try:
        _await(running)
    except BaseException:
        running.stop()
        raise
    return running


def _await(running: Running[S]) -> None:
    until = time.monotonic() + running.server.patience
    while not running.server.healthy():
        ended = running.process.poll()
        if ended is None and time.monotonic() < until:
            time.sleep(0.2)
            continue
        how = "took too long" if ended is None else _ending(ended)
        tail = running.log.read_text(errors="replace")[-2000:]
        raise TradewindError(
            Problem(code="TW310", message=f"{running.server.name} {how}", got=tail, file=str(running.log))
        )


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
