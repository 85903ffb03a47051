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


def _end_leftovers(part: str) -> None:
    """End what a killed predecessor started: two schedulers' tasks would do the same work."""
    from tradewind.dev import processes

    own = os.getpid()
    processes.end(
        [found for found in processes.marked(os.environ[processes.MARK], part) if found.pid != own], patience=3
    )


def _described(part: str) -> list[str]:
    description = json.loads((Path(os.environ[RUN]) / "parts" / f"{part}.json").read_text())
    _end_leftovers(part)
    os.environ.update(description["environment"], TRADEWIND_PART=part)
    os.chdir(description["folder"])
    return list(description["command"])


def main(words: list[str]) -> None:
    """Tie this process to its parent and become the command."""
    die_with_parent()
    command = _described(words[1]) if words[0] == "--part" else words
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
