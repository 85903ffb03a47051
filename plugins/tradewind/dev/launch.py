"""What every server is started through: it must not outlive who started it. Becomes the server itself by exec.

`python -m tradewind.dev.launch COMMAND…`, or `--part NAME` for one that is described in the stack's `run/parts/`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

RUN = "TRADEWIND_RUN"
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Linux sends SIGTERM when the parent is gone, however it went; the mark in the environment serves elsewhere."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it went in between
        sys.exit(1)


def _end_leftovers(run: Path, part: str) -> None:
    """End what a killed predecessor started: two schedulers' tasks would do the same work."""
    from tradewind.dev import processes

    pid = run / "parts" / f"{part}.pid"
    before = int(pid.read_text()) if pid.is_file() else None
    trace = processes.Trace(os.environ[processes.MARK], os.getsid(0), part, before)
    processes.end([found for found in trace.find() if found.pid != os.getpid()], patience=3)
    pid.write_text(str(os.getpid()))  # supervisord made this process the leader of a group


def _described(part: str) -> list[str]:
    run = Path(os.environ[RUN])
    description = json.loads((run / "parts" / f"{part}.json").read_text())
    _end_leftovers(run, part)
    os.environ.update(description["environment"], TRADEWIND_PART=part)
    os.chdir(description["folder"])
    return list(description["command"])


def main(words: list[str]) -> None:
    """Tie this process to its parent and become the command."""
    die_with_parent()
    command = _described(words[1]) if words[0] == "--part" else words
    os.execvp(command[0], command)  # noqa: S606 - that is what it is for


if __name__ == "__main__":
    main(sys.argv[1:])
