"""A figure is of a process of its own: what it took, with what it imports, and the most memory that it had.

A benchmark that measures so answers `python -m bench.NAME --one WHO --task JSON` with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

Task = Mapping[str, Any]  # what each peer is asked, as JSON; `rows` are those that it must find
Taken = dict[str, Any]
GROWTH = (1, 5, 20)  # times the rows that are asked for; memory and time of each are compared
SPARE = 0.8  # of the machine's memory, that one who grows may come to


def peak() -> int:
    """The highest memory of this process so far, in MiB; `ru_maxrss` would be its parent's where that had more."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def taken(work: Callable[[], int], modules: Sequence[str] = (), ready: Callable[[], object] = lambda: None) -> Taken:
    """What work takes in this process.

    Args:
        work: gives how many rows it has seen.
        modules: imported before, which counts, and is told too.
        ready: done after that, and counts for memory alone.
    """
    began, used = time.perf_counter(), time.process_time()
    for name in modules:
        import_module(name)
    imports, cpu = time.perf_counter() - began, time.process_time() - used
    ready()
    began, used = time.perf_counter(), time.process_time()
    rows = work()
    wall, cpu = time.perf_counter() - began + imports, time.process_time() - used + cpu
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "rows": rows,
        "wall": round(wall, 3),
        "imports": round(imports, 3),
        "cpu": round(cpu + children.ru_utime + children.ru_stime, 3),
        "peak_mib": peak(),
    }


def alone(module: str, who: str, task: Task) -> Taken:
    """One peer in a process of its own; it must see all rows."""
    words = [sys.executable, "-m", f"bench.{module}", "--one", who, "--task", json.dumps(dict(task))]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Taken = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == task["rows"], (who, task, found)
    return found


def in_turns(module: str, peers: Sequence[str], task: Task, repeat: int) -> dict[str, list[Taken]]:
    """Each so many times, one after the other, so that a busy moment is not of one alone."""
    raw: dict[str, list[Taken]] = {who: [] for who in peers}
    for _ in range(repeat):
        for who in peers:
            raw[who].append(alone(module, who, task))
    return raw


def told(raw: Mapping[str, Sequence[Taken]], rows: int) -> dict[str, Any]:
    """What is made of them: the quickest of each, and the most memory."""
    best = {who: min(run["wall"] for run in runs) for who, runs in raw.items()}
    return {
        "rows": rows,
        "wall": best,
        "imports": {who: min(run["imports"] for run in runs) for who, runs in raw.items()},
        "rows_a_second": {who: round(rows / wall) for who, wall in best.items()},
        "cpu_us_a_row": {who: round(min(run["cpu"] for run in runs) / rows * 1e6, 3) for who, runs in raw.items()},
        "peak_mib": {who: max(run["peak_mib"] for run in runs) for who, runs in raw.items()},
        "raw": dict(raw),
    }


def grown(module: str, peers: Sequence[str], tasks: Sequence[Task], repeat: int) -> dict[str, Any]:
    """The same by ever more rows, the largest once; who would not fit into memory is left out there, and told."""
    found: dict[str, Any] = {}
    before: tuple[int, dict[str, int]] = (0, {})
    for task in tasks:
        rows = task["rows"]
        there = [who for who in peers if before[1].get(who, 0) * rows <= SPARE * _memory() * max(1, before[0])]
        raw = in_turns(module, there, task, 1 if task is tasks[-1] else repeat)
        body = told(raw, rows) | {"left_out": [who for who in peers if who not in there]}
        found[str(rows)] = shown(f"{module} {task.get('case', '')} {rows}", body)
        before = rows, body["peak_mib"]
    return found


def slowest(grown: Mapping[str, Mapping[str, Any]], peer: str) -> float:
    """The most that ours took of any size, in times of what a peer took; 0 where they are not beside each other."""
    walls = [body["wall"] for body in grown.values()]
    return max((wall["ours"] / wall[peer] for wall in walls if {"ours", peer} <= wall.keys()), default=0.0)


def _memory() -> int:
    """What is free, in MiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable"))


def shown(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """Said at once, without what is raw."""
    print(f"{name}: {json.dumps({key: value for key, value in body.items() if key != 'raw'})[:1000]}", flush=True)
    return body


def options(doc: str | None, rows: int, only: str, more: Mapping[str, int] | None = None) -> argparse.Namespace:
    """What all of these benchmarks may be asked.

    Args:
        doc: of the benchmark.
        rows: how many by default.
        only: what may be named.
        more: numbers of its own, by their defaults.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=rows)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help=f"{only}, by commas")
    parser.add_argument("--growth", action="store_true", help=f"{GROWTH} times the rows, and nothing else")
    for name, default in (more or {}).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    for word in ("one", "task"):  # of a process of its own
        parser.add_argument(f"--{word}", default="", help=argparse.SUPPRESS)
    return parser.parse_args()
