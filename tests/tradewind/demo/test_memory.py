"""The demo's memory: of this process, of what it started, and of a supervisor that is nobody's child."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tradewind.demo import memory
from tradewind.demo.memory import MOST, Memory, held, share

MIB = 1024**2
FILLED = "import time; held = bytearray(b'x') * (200 * 1024**2); print('full', flush=True); time.sleep(60)"
#: Starts it as a child of nobody: whoever is its parent ends at once.
ORPHANED = (
    "import subprocess, sys\n"
    f"child = subprocess.Popen([sys.executable, '-c', {FILLED!r}], stdout=subprocess.PIPE,"
    " stderr=subprocess.DEVNULL, text=True)\n"
    "child.stdout.readline()\n"
    "print(child.pid)\n"
)


@pytest.fixture
def orphan() -> Iterator[psutil.Process]:
    said = subprocess.run([sys.executable, "-c", ORPHANED], capture_output=True, text=True, check=True)
    process = psutil.Process(int(said.stdout))
    yield process
    process.kill()


def test_what_this_process_started_counts(tmp_path: Path) -> None:
    before = held(tmp_path)
    with subprocess.Popen([sys.executable, "-c", FILLED], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert held(tmp_path) - before > 190 * MIB
        child.kill()


def test_the_stack_counts_though_the_demo_did_not_start_it(tmp_path: Path, orphan: psutil.Process) -> None:
    before = held(tmp_path)
    (tmp_path / "run").mkdir()
    record = {"pid": orphan.pid, "created": orphan.create_time()}
    (tmp_path / "run" / "supervisor.json").write_text(json.dumps(record))
    assert held(tmp_path) - before > 190 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux divides a page among those who share it")
def test_a_page_that_is_shared_counts_once() -> None:
    code = "import os, time\nheld = bytearray(b'x') * (200 * 1024**2)\nchild = os.fork()\n"
    code += "if child: print(child, flush=True)\ntime.sleep(60)\n"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        both = [psutil.Process(process.pid), psutil.Process(int(process.stdout.readline()))]
        together = sum(map(share, both))
        for one in both:
            one.kill()
    assert 190 * MIB < together < 300 * MIB


def test_where_shares_cannot_be_read_shared_pages_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: psutil.Process) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "memory_full_info", refused)
    own = share(psutil.Process())
    assert 0 < own <= psutil.Process().memory_info().rss


def test_one_that_has_ended_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        gone = psutil.Process(process.pid)
    assert share(gone) == 0


def test_the_peak_stays_when_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "EVERY", 0.05)
    with Memory(tmp_path) as watched:
        with subprocess.Popen([sys.executable, "-c", FILLED], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(0.5)
            child.kill()
        time.sleep(0.2)
    assert watched.peak - share(psutil.Process(os.getpid())) > 150 * MIB
    assert watched.line().ok


@pytest.mark.parametrize(("peak", "ok"), [(0, False), (MOST, True), (MOST + 1, False)])
def test_more_than_was_promised_is_red(tmp_path: Path, peak: int, ok: bool) -> None:
    line = Memory(tmp_path, peak).line()
    assert line.ok is ok
    assert line.asked == "this machine"
