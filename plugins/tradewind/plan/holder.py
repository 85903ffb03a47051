"""Who holds a lease outside Airflow: `tradewind run`, by host and process."""

from __future__ import annotations

import os
import socket
from pathlib import Path

PROCESS = "process:"


def this_process() -> str:
    """A holder's name that tells whether it still lives: host, process id and when it started."""
    return f"{PROCESS}{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def process_lives(holder: str) -> bool:
    """Whether the process of a holder's name is still there. Of another host one cannot know: it lives."""
    host, pid, started = holder.removeprefix(PROCESS).rsplit(":", 2)
    if host != socket.gethostname():
        return True
    return _started(int(pid)) == started != ""


def _started(pid: int) -> str:
    """The kernel's start time of a process, which tells a reused id apart; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive" if not Path("/proc/self/stat").exists() else ""
