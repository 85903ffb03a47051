"""What this step uses now: of its container by the kernel's own accounts, else of its process and all its children."""

from __future__ import annotations

import os
import resource
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc")
_NO_LIMIT = 1 << 60  # version 1 writes the greatest number of pages


@dataclass(frozen=True)
class Reading:
    """Seconds of all cores so far, and bytes now."""

    cpu: float
    memory: int


class Gauge(Protocol):
    """Where readings come from."""

    def limits(self) -> tuple[float | None, int | None]:
        """Cores and bytes."""

    def read(self) -> Reading:
        """Now."""


def gauge(*, container: bool) -> Gauge:
    """The best that there is here.

    Args:
        container: whether this process has one of its own. One that it shares says nothing of it.
    """
    for kind in (CgroupTwo, CgroupOne) if container else ():
        found = kind()
        with suppress(OSError, ValueError):
            found.read()
            return found
    return Processes() if PROC.is_dir() else Itself()


@dataclass(frozen=True)
class CgroupTwo:
    """A container's account, version 2."""

    root: Path = CGROUP

    def limits(self) -> tuple[float | None, int | None]:
        """Of cpu.max and memory.max."""
        quota, period = _text(self.root / "cpu.max", "max 1").split()
        memory = _text(self.root / "memory.max", "max").strip()
        return None if quota == "max" else int(quota) / int(period), None if memory == "max" else int(memory)

    def read(self) -> Reading:
        """What the kernel could take away at once, such as a file's pages, is not counted."""
        used = int((self.root / "memory.current").read_text())
        idle = _named(self.root / "memory.stat", "inactive_file")
        return Reading(_named(self.root / "cpu.stat", "usage_usec") / 1e6, max(0, used - idle))


@dataclass(frozen=True)
class CgroupOne:
    """A container's account, version 1."""

    root: Path = CGROUP

    def limits(self) -> tuple[float | None, int | None]:
        """Of the quota and the limit."""
        quota = int(_text(self.root / "cpu" / "cpu.cfs_quota_us", "-1"))
        period = int(_text(self.root / "cpu" / "cpu.cfs_period_us", "100000"))
        memory = int(_text(self.root / "memory" / "memory.limit_in_bytes", str(_NO_LIMIT)))
        return quota / period if quota > 0 else None, memory if memory < _NO_LIMIT else None

    def read(self) -> Reading:
        """As of version 2."""
        used = int((self.root / "memory" / "memory.usage_in_bytes").read_text())
        idle = _named(self.root / "memory" / "memory.stat", "total_inactive_file")
        return Reading(int((self.root / "cpuacct" / "cpuacct.usage").read_text()) / 1e9, max(0, used - idle))


class Processes:
    """A process, by /proc: this one and all that come from it."""

    def __init__(self, root: Path = PROC) -> None:
        self.root = root
        self._tick, self._page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")

    def limits(self) -> tuple[float | None, int | None]:
        """The machine is shared."""
        return None, None

    def read(self) -> Reading:
        """Of children, what they do not share with others."""
        ticks, pages, own = 0, 0, os.getpid()
        for pid, spent in self._family(own):
            resident, shared = (int(word) for word in _text(self.root / str(pid) / "statm", "0 0 0").split()[1:3])
            ticks += spent
            pages += resident if pid == own else max(0, resident - shared)
        return Reading(ticks / self._tick, pages * self._page)

    def _family(self, own: int) -> Iterator[tuple[int, int]]:
        """Each with its ticks, and those of its children that are gone."""
        children: dict[int, list[int]] = defaultdict(list)
        spent = {}
        for folder in self.root.iterdir():
            if not folder.name.isdigit():
                continue
            fields = _text(folder / "stat", "").rpartition(")")[2].split()  # a name may have spaces
            if fields:
                children[int(fields[1])].append(int(folder.name))
                spent[int(folder.name)] = sum(map(int, fields[11:15]))
        waiting = [own]
        while waiting:
            pid = waiting.pop()
            waiting += children[pid]
            yield pid, spent.get(pid, 0)


class Itself:
    """What every Unix says of a process: its peak, and the largest child's that has ended."""

    def limits(self) -> tuple[float | None, int | None]:
        """The machine is shared."""
        return None, None

    def read(self) -> Reading:
        """Memory is the most so far."""
        unit = 1 if sys.platform == "darwin" else 1024
        found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return Reading(sum(one.ru_utime + one.ru_stime for one in found), sum(one.ru_maxrss for one in found) * unit)


def _text(path: Path, otherwise: str) -> str:
    try:
        return path.read_text()
    except OSError:
        return otherwise


def _named(path: Path, name: str) -> int:
    """A line of a file of names and numbers."""
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
