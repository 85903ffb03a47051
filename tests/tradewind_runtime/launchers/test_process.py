"""A step in a process: whatever it leaves behind keeps nobody waiting, and does not stay."""

import os
import signal
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config
from tests.tradewind_runtime.steprun import wait_for

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers.process import Launch

MODEL = """
import os, pathlib, subprocess, time
import xgboost

def train(ctx):
    helper = subprocess.Popen(["sleep", "120"])  # it has what the step prints to
    (pathlib.Path(ctx.params["folder"]) / f"{os.getpid()}-{helper.pid}").touch()
    print("said before")
    time.sleep(ctx.params["seconds"])
    return xgboost.train({"objective": "binary:logistic", "nthread": 1}, ctx.train.dmatrix(), 5)
"""


def launched(tmp_path: Path, lines: list[str], *, seconds: float) -> Launch:
    root = tmp_path / "a lake"
    config = train_config(function="mine:train", params={"folder": str(tmp_path), "seconds": seconds})
    code = archive(root, mine=MODEL)
    body = request(root, "train", config, inputs={"features": store(root, rows(300))}, code=code)
    return Launch(body, Documents(root.as_uri()), sys.executable, on_line=lines.append)


def processes(tmp_path: Path) -> list[int]:
    """The step's, and that of what it has started."""
    return [int(pid) for mark in tmp_path.glob("*-*") for pid in mark.name.split("-")]


def test_a_step_that_is_done_is_not_waited_for(tmp_path: Path) -> None:
    lines: list[str] = []
    began = time.monotonic()
    result = launched(tmp_path, lines, seconds=0).run()
    assert time.monotonic() - began < 60
    assert result.metrics["rows_train"] > 0
    assert "said before" in lines
    wait_for(lambda: not any(map(psutil.pid_exists, processes(tmp_path))), 5)


def test_nor_is_one_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    lines: list[str] = []
    killed: list[float] = []

    def kill() -> None:
        wait_for(lambda: "said before" in lines, 60)
        assert list(scratch.glob("*/tradewind-*/work")), "its own folder"
        os.kill(processes(tmp_path)[0], signal.SIGKILL)
        killed.append(time.monotonic())

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StepError, match="SIGKILL"):
        launched(tmp_path, lines, seconds=120).run()
    killer.join()
    assert time.monotonic() - killed[0] < 10
    wait_for(lambda: not any(map(psutil.pid_exists, processes(tmp_path))), 5)
    assert list(scratch.iterdir()) == []


def test_a_step_is_stopped_when_who_waited_for_it_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    launch = replace(launched(tmp_path, lines, seconds=120), parent=(parent := os.getppid()))
    monkeypatch.setattr(os, "getppid", lambda: 1 if "said before" in lines else parent)
    with pytest.raises(StepError, match="has gone"):
        launch.run()
    wait_for(lambda: not any(map(psutil.pid_exists, processes(tmp_path))), 5)
