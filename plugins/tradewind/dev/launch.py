"""What every server is started through: it must not outlive who started it. Becomes the server itself by exec.

`python -m tradewind.dev.launch COMMAND…`
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Linux sends SIGTERM when the parent is gone, however it went; the mark in the environment serves elsewhere."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it went in between
        sys.exit(1)


def main(command: list[str]) -> None:
    """Tie this process to its parent and become the command."""
    die_with_parent()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
