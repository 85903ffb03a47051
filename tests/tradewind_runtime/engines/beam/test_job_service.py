"""Pipelines that are handed to a job server: Beam's own, one with a Flink in it, and one with a Spark."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.servers.beam_jobs import FLINK, SPARK, Runner
from tests.tradewind_runtime.transformable import House

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.lake import Lake

pytestmark = pytest.mark.server

#: The helper is known to the submitting process alone: it goes along with the job.
MODEL = """
import os
import apache_beam as beam
import pyarrow as pa
from m_helper import twice

SCHEMA = pa.schema([("t", pa.timestamp("us", "UTC")), ("n", pa.int64()), ("worker", pa.int64())])

def features(pipeline, tables, context):
    made = beam.Map(lambda row: {"t": row["t"], "n": twice(row["n"]), "worker": os.getpid()})
    return tables["rows"] | made, SCHEMA

def broken(pipeline, tables, context):
    return tables["rows"] | beam.Map(lambda row: {}["nothing"]), SCHEMA
"""
HELPER = "def twice(n):\n    return 2 * n\n"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def started(words: Sequence[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server of Beam's, once it listens; ended with all that it has started."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # a pool starts `python`
    with log.open("wb") as out:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=os.environ | {"PATH": path},
        )
    try:
        end = time.monotonic() + 120
        while not listens(port) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        assert listens(port), log.read_text()
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Jobs:
    """A job server, as a profile names it."""

    runner: str
    address: str

    def settings(self, **options: Any) -> dict[str, Any]:
        return {"beam": {"runner": self.runner, "options": {"job_endpoint": self.address, **options}}}


@pytest.fixture(scope="module", params=[None, FLINK, SPARK], ids=["beam", "flink", "spark"])
def jobs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    runner: Runner | None = request.param
    port, folder = free_port(), tmp_path_factory.mktemp("jobs")
    own = ["-m", "apache_beam.runners.portability.local_job_service_main", "--port", str(port), "--staging_dir"]
    words = runner.command(port, folder / "staging") if runner else [sys.executable, *own, str(folder / "staging")]
    with started(words, port, folder / "log"):
        yield Jobs(runner.name if runner else "flink", f"localhost:{port}")


def transform(function: str) -> dict[str, Any]:
    return {"beam": {"function": f"m_jobs:{function}"}}


def test_workers_in_this_process(jobs: Jobs, tmp_path: Path) -> None:
    house = House(tmp_path / "a lake")
    code = house.code(m_jobs=MODEL, m_helper=HELPER)
    result = house.run(transform("features"), code=code, settings=jobs.settings(environment_type="LOOPBACK"))
    rows = house.rows(result)
    assert rows["n"].to_pylist() == [*range(192, 480, 2)]
    assert set(rows["worker"].to_pylist()) == {os.getpid()}


def test_an_error_comes_back_with_its_line(jobs: Jobs, tmp_path: Path) -> None:
    house = House(tmp_path / "a lake")
    code = house.code(m_jobs=MODEL, m_helper=HELPER)
    with pytest.raises(StepError, match='KeyError: "nothing"') as caught:
        house.run(transform("broken"), code=code, settings=jobs.settings(environment_type="LOOPBACK"))
    [problem] = caught.value.problems
    assert (problem.code, problem.file, problem.line) == ("TW545", "include/models/m_jobs.py", 14)
    assert caught.value.retryable  # it may have been a lost worker


def test_workers_elsewhere_have_the_lakes_key_and_the_users_modules(
    jobs: Jobs, s3_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.servers import buckets

    buckets.make(s3_server, "beam")
    said = s3_server.connections()["s3_default"]
    monkeypatch.setenv("AIRFLOW_CONN_S3_DEFAULT", said)
    house = House(tmp_path / "unused")
    lake = Lake(f"s3://beam/{tmp_path.name}/a lake", Connection.parse("s3_default", said))
    rows = house.lake.table("p/rows").snapshot().to_arrow()
    house.lake, house.features = lake, lake.table("p/features")
    house.add(rows)
    code = house.code(m_jobs=MODEL, m_helper=HELPER)
    port = free_port()
    words = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", "--service_port", str(port)]
    with started(words, port, tmp_path / "pool.log"):
        settings = jobs.settings(environment_type="EXTERNAL", environment_config=f"localhost:{port}")
        result = house.run(transform("features"), code=code, settings=settings, connections={"lake": "s3_default"})
        found = house.rows(result)
        assert os.getpid() not in found["worker"].to_pylist()
    assert found["n"].to_pylist() == [*range(192, 480, 2)]
    assert len(house.features.snapshot().files) == 6
