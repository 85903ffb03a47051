"""The stack as a person has it: up, twice, killed, interrupted, down; and never a process left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from tradewind.dev import ports
from tradewind.dev.servers.base import answer
from tradewind.dev.stack import connections
from tradewind.dev.supervisor import Supervisor

pytestmark = pytest.mark.server


class Project:
    """A project in a folder with a space, whose stack is an S3 server; its wanted port is taken."""

    def __init__(self, folder, taken):
        self.folder, self.home = folder, folder / ".tradewind"
        (folder / "profiles").mkdir(parents=True)
        (folder / "profiles" / "local.yaml").write_text(f"profile: local\nstack: [s3]\nports: {{s3: {taken}}}\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND")}
        self.environment = kept | {"TRADEWIND_PROJECT": str(folder)}

    def start(self, *words):
        command = [sys.executable, "-m", "tradewind.cli", "dev", *words]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def dev(self, *words, code=0):
        running = self.start(*words)
        said, _ = running.communicate(timeout=100)
        assert running.returncode == code, said
        return said

    def left(self):
        return Supervisor(self.home).trace().find()

    def part(self):
        return int((self.home / "run" / "parts" / "s3.pid").read_text())


@pytest.fixture
def project(tmp_path):
    with socket.socket() as held:
        held.bind((ports.LOOPBACK, 0))
        held.listen()
        made = Project(tmp_path / "a b", held.getsockname()[1])
        try:
            yield made
        finally:
            Supervisor(made.home).kill()


def _until(true, seconds=30):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_up_twice_status_logs_and_down(project):
    first = json.loads(project.dev("up", "--format", "json"))
    assert first["started"] == ["s3"]
    address = json.loads(connections(project.home)["s3_default"])["extra"]["endpoint_url"]
    assert first["parts"][0] | {"login": ""} == {
        "part": "s3", "title": "S3 server", "address": address, "login": "", "state": "healthy",
    }  # fmt: skip
    before = project.part()
    assert "was already up" in project.dev("up")
    assert project.part() == before
    assert json.loads(project.dev("status", "--format", "json"))["ok"] is True
    assert "s3" in project.dev("logs", "s3").lower()
    everything = [process.pid for process in project.left()]
    assert len(everything) >= 2
    assert "no process is left" in project.dev("down")
    assert not [pid for pid in everything if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    assert project.left() == []
    assert json.loads(project.dev("status", "--format", "json", code=1))["parts"][0]["state"] == "stopped"


def test_a_killed_part_comes_back(project):
    project.dev("up")
    before = project.part()
    os.kill(before, signal.SIGKILL)
    _until(lambda: project.part() != before)
    project.dev("up")  # waits until it is healthy
    assert json.loads(project.dev("status", "--format", "json"))["ok"] is True
    assert [process.pid for process in project.left() if process.name() == "weed"] == [project.part()]


def test_down_after_the_supervisor_was_killed_leaves_none(project):
    project.dev("up")
    everything = project.left()
    os.kill(Supervisor(project.home).process().pid, signal.SIGKILL)
    assert "no process is left" in project.dev("down")
    assert not any(process.is_running() and process.status() != "zombie" for process in everything)


def test_up_recovers_from_a_killed_supervisor(project):
    project.dev("up")
    before = Supervisor(project.home).process().pid
    os.kill(before, signal.SIGKILL)
    project.dev("up")
    assert Supervisor(project.home).process().pid != before
    address = json.loads(connections(project.home)["s3_default"])["extra"]["endpoint_url"]
    assert answer(f"{address}/healthz") is not None
    assert {process.ppid() for process in project.left() if process.name() == "weed"} == {
        Supervisor(project.home).process().pid
    }


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_stops_what_was_started(project, times):
    running = project.start("up")
    _until((project.home / "run" / "parts" / "s3.pid").is_file)
    for _ in range(times):
        running.send_signal(signal.SIGINT)
        time.sleep(0.5)
    running.communicate(timeout=60)
    assert running.returncode != 0
    assert project.left() == []
