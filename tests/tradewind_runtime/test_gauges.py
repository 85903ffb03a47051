"""What is used, as the kernel says it: of a container by either version of its accounts, of processes by /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tradewind_runtime import gauges
from tradewind_runtime.gauges import CgroupOne, CgroupTwo, Processes, Reading

MIB = 1 << 20


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


TWO = {
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\n", "cpu.max": "150000 100000\n",
    "memory.current": "900\n", "memory.max": "4096\n", "memory.stat": "anon 500\ninactive_file 300\n",
}  # fmt: skip
ONE = {
    "cpuacct/cpuacct.usage": "2500000000\n", "cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n",
    "memory/memory.usage_in_bytes": "900\n", "memory/memory.limit_in_bytes": "4096\n",
    "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 300\n",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "files"), [(CgroupTwo, TWO), (CgroupOne, ONE)])
def test_a_containers_account(tmp_path: Path, kind: type[CgroupTwo | CgroupOne], files: dict[str, str]) -> None:
    account = kind(written(tmp_path, files))
    assert account.read() == Reading(2.5, 600)
    assert account.limits() == (1.5, 4096)


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        (CgroupTwo, TWO | {"cpu.max": "max 100000\n", "memory.max": "max\n"}),
        (CgroupOne, ONE | {"cpu/cpu.cfs_quota_us": "-1\n", "memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}),
    ],
)
def test_no_limit_is_none(tmp_path: Path, kind: type[CgroupTwo | CgroupOne], files: dict[str, str]) -> None:
    assert kind(written(tmp_path, files)).limits() == (None, None)


@pytest.mark.skipif(not gauges.PROC.is_dir(), reason="no /proc")
def test_children_are_counted() -> None:
    code = f"held = b'x' * {200 * MIB}\nprint('ready', flush=True)\nwhile True: pass"
    before = Processes().read()
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        until = time.monotonic() + 60
        while (after := Processes().read()).cpu - before.cpu <= 0.5:
            assert time.monotonic() < until, "a child at work is not seen"
            time.sleep(0.1)
    finally:
        child.kill()
        child.wait()
    assert after.memory - before.memory > 200 * MIB
    assert Processes().read().cpu > after.cpu - 0.05  # those that are gone stay counted


def test_every_unix_says_something() -> None:
    found = gauges.Itself().read()
    assert found.cpu > 0
    assert MIB < found.memory < 100_000 * MIB
    assert Processes(Path("/proc")).limits() == gauges.Itself().limits() == (None, None)


def test_a_process_without_a_container_of_its_own_does_not_ask_for_one() -> None:
    assert not isinstance(gauges.gauge(container=False), CgroupOne | CgroupTwo)


def test_a_name_with_spaces_and_brackets_is_no_hindrance(tmp_path: Path) -> None:
    own = os.getpid()
    fields = f"1 {own} {own} 0 -1 4194560 1 0 0 0 10 20 30 40 20 0"
    written(tmp_path, {f"{own}/stat": f"{own} (a (b) c) S {fields}", f"{own}/statm": "100 50 10 1 0 1 0"})
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert Processes(tmp_path).read() == Reading(100 / ticks, 50 * page)
