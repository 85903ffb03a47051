"""Spark Connect: the same rows by somebody else's Spark, and what is told where it cannot be."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyspark.errors import PySparkException
from tests.servers import buckets
from tests.servers.authority import Authority
from tests.servers.spark_connect import SparkConnect
from tests.servers.tls import in_front_of
from tests.tradewind_runtime.engines.spark_house import House, failure, right, succeed
from tests.tradewind_runtime.steprun import wait_for

from tradewind.dev.ports import choose
from tradewind.dev.running import start
from tradewind_runtime.__main__ import RETRYABLE
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.engines.spark import connect, progress, reading, s3
from tradewind_runtime.engines.spark.errors import at_work
from tradewind_runtime.engines.spark.session import session
from tradewind_runtime.engines.spark.shipping import ship_runtime
from tradewind_runtime.engines.spark.tasks import CORES, each
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake

TOKEN = "a=b;c#d%2F/+=="  # letters that mean something within an address


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(Lake((tmp_path / "a lake").as_uri()), tmp_path / "marks")
    yield made
    made.close()


def asked(house: House, settings: dict[str, Any], **more: Any) -> StepRequest:
    """Of a server nothing but what is said."""
    return house.request({}, **more).model_copy(update={"settings": {"spark": settings}})


@pytest.mark.server
def test_the_rows_are_right_and_added_once(spark_connect: SparkConnect, house: House) -> None:
    request = asked(house, {"master": spark_connect.address, "shuffle_partitions": 2})
    succeed(house.start(request))
    assert right(house.rows(request))
    assert house.lake.table("p/features").snapshot().count() == 144


@pytest.mark.server
def test_its_workers_take_our_package_from_us(spark_connect: SparkConnect, tmp_path: Path) -> None:
    def where(_: None) -> str:
        import tradewind_runtime

        return tradewind_runtime.__file__

    with session({"master": spark_connect.address}, tmp_path) as spark:
        ship_runtime(spark, tmp_path)
        (found,) = each(spark, where, [None])
    assert ".zip/" in found, "not what is installed there"


@pytest.mark.server
def test_the_server_tells_how_far_it_is(
    spark_connect: SparkConnect, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "tradewind")
    with session({"master": spark_connect.address}, tmp_path) as spark, progress.told_by(spark):
        monkeypatch.setattr(progress, "EVERY", 120.0)  # the first may last on a busy machine
        each(spark, lambda _: None, [1, 2])
        assert not caplog.messages, "of what is quick nothing is said"
        monkeypatch.setattr(progress, "EVERY", 4.0)
        each(spark, time.sleep, [8, 8, 8])
    assert re.fullmatch(r"Spark: 1 stages, \d of 3 tasks, [12] running", caplog.messages[0])


@pytest.mark.server
def test_what_a_cancelled_step_has_running_ends(tmp_path: Path, house: House) -> None:
    """At once: left to itself, this server would end it after minutes."""
    with start(SparkConnect.at(tmp_path / "connect")) as running:
        _ended(running.server, house, signal.SIGTERM)


@pytest.mark.server
def test_what_a_killed_step_has_running_is_ended_by_the_server(spark_connect: SparkConnect, house: House) -> None:
    _ended(spark_connect, house, signal.SIGKILL)


def _ended(server: SparkConnect, house: House, how: int) -> None:
    request = asked(house, {"master": server.address}, wait=60)
    step = house.start(request)
    wait_for(lambda: list(house.marks.iterdir()))
    step.send_signal(how)
    step.wait(30)
    workers = [int(one.name.split("-")[1]) for one in house.marks.iterdir()]
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in workers), 30)
    assert not house.lake.table("p/features").exists()


@pytest.mark.server
@pytest.mark.timeout(300)
def test_a_server_that_goes_meanwhile_is_told_and_may_be_tried_again(tmp_path: Path, house: House) -> None:
    with start(SparkConnect.at(tmp_path / "connect")) as running:
        request = asked(house, {"master": running.server.address}, wait=60)
        step = house.start(request)
        wait_for(lambda: list(house.marks.iterdir()))
        running.kill()
        said = failure(step)
    assert "TW545" in said
    assert "Spark Connect: UNAVAILABLE" in said
    assert step.returncode == RETRYABLE


def test_a_call_of_ours_of_which_nobody_else_tells_is_spark_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def gone(*_: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr(connect, "session", gone)
    call = 'status = StatusCode.UNAVAILABLE\n\tdetails = "it is gone"'
    says = r"TW546: Spark failed at the step's own calls: Spark Connect: UNAVAILABLE: it is gone"
    with pytest.raises(StepError, match=says) as caught, session({"master": "sc://here"}, tmp_path):
        raise PySparkException(call)
    assert caught.value.retryable


def test_what_a_servers_workers_lack_is_for_the_server_to_have(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks = PySparkException("ModuleNotFoundError: No module named 'great_expectations'")
    starts = PySparkException('java.io.IOException: Cannot run program "python3": error=2')
    for error, says in ((lacks, "lack a package: great_expectations"), (starts, "cannot start the Python python3")):
        with pytest.raises(StepError, match=f"TW546 .*settings.spark.python.*{says}"), at_work("judging rows"):
            raise error
        with monkeypatch.context() as patch:
            patch.setenv("SPARK_CONNECT_MODE_ENABLED", "1")
            with pytest.raises(StepError, match=says) as caught, at_work("judging rows"):
                raise error
        [found] = caught.value.problems
        assert found.path is None, "settings.spark.python is refused"
        assert "the server's" in str(found.fix)


def test_a_server_has_as_many_cores_for_one_as_for_another() -> None:
    assert reading.cores({"master": "sc://here"}) == reading.cores({"master": "spark://here:7077"}) == CORES


@pytest.mark.server
def test_a_token_is_that_of_the_connection(tmp_path: Path, house: House) -> None:
    options = {"spark.connect.authenticate.token": TOKEN}
    with start(SparkConnect.at(tmp_path / "connect", options=options)) as running:
        master = running.server.address.replace("127.0.0.1", "localhost")  # where a token may go without TLS
        without = failure(house.start(asked(house, {"master": master})))
        assert "the Spark Connect server took no session" in without
        request = asked(house, {"master": master, "connection": "spark_default"})
        known = json.dumps({"conn_type": "spark_connect", "password": TOKEN})
        succeed(house.start(request, AIRFLOW_CONN_SPARK_DEFAULT=known))
        assert right(house.rows(request))


@pytest.mark.server
def test_a_token_goes_over_tls_to_whom_the_authority_vouches_for(tmp_path: Path, house: House) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("spark", "spark", hosts=["localhost"])
    options = {"spark.connect.authenticate.token": TOKEN}
    known = json.dumps({"conn_type": "spark_connect", "password": TOKEN})
    with (
        start(SparkConnect.at(tmp_path / "connect", options=options)) as running,
        in_front_of(running.server.ports["grpc"], *pair) as port,
    ):
        request = asked(house, {"master": f"sc://localhost:{port}/;use_ssl=true", "connection": "spark_default"})
        unknown = failure(house.start(request, AIRFLOW_CONN_SPARK_DEFAULT=known))
        assert "the Spark Connect server took no session" in unknown
        assert "CERTIFICATE_VERIFY_FAILED" in unknown
        roots = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(authority.certificate)}
        succeed(house.start(request, AIRFLOW_CONN_SPARK_DEFAULT=known, **roots))
    assert right(house.rows(request))


@pytest.mark.server
def test_a_lake_on_s3_is_reached_by_the_servers_own_rights(s3_server: Any, tmp_path: Path) -> None:
    buckets.make(s3_server, "connect")
    connection = s3_server.connections()["s3_default"]
    house = House(Lake("s3://connect/a lake", Connection.parse("s3", connection)), tmp_path / "marks")
    options = s3.options(house.lake, own_jars=True)
    with start(SparkConnect.at(tmp_path / "connect", options=options)) as running:
        request = asked(house, {"master": running.server.address}, connections={"lake": "s3_default"})
        succeed(house.start(request, AIRFLOW_CONN_S3_DEFAULT=connection))
    assert right(house.rows(request))


@pytest.mark.server
def test_an_option_that_a_session_may_not_have_is_told(spark_connect: SparkConnect, house: House) -> None:
    settings = {"master": spark_connect.address, "options": {"spark.executor.memory": "1g"}}
    said = failure(house.start(asked(house, settings)))
    assert "TW546" in said
    assert "spark.executor.memory" in said


def test_a_server_that_is_away_is_told_at_once(house: House) -> None:
    master = f"sc://127.0.0.1:{choose({'one': None})['one']}"
    began = time.monotonic()
    with pytest.raises(StepError, match=f"no Spark Connect server answers at {master}") as caught:
        execute(asked(house, {"master": master}))
    assert time.monotonic() - began < 30
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"master": "sc://a b"}, "is no address of a Spark Connect server"),
        ({"master": "sc://one:1/;token=abc"}, r"is no address .*token=\*\*\*"),
        ({"master": "sc://one:1,two:2"}, "is no address of a Spark Connect server"),
        ({"master": "sc://localhost", "driver_memory": "1g"}, "has its own driver_memory"),
        ({"master": "sc://spark.example.com"}, "does not see a lake in a folder"),
    ],
)
def test_settings_that_are_none_are_told(house: House, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(StepError, match=f"(?s){said}") as caught:
        execute(asked(house, settings))
    assert not caught.value.retryable
    assert "abc" not in str(caught.value)


def test_a_session_has_the_options_that_are_asked_for() -> None:
    found = connect.options({"shuffle_partitions": 7, "options": {"spark.sql.ansi.enabled": True}})
    assert found["spark.sql.shuffle.partitions"] == "7"
    assert found["spark.sql.ansi.enabled"] == "True"
    assert "spark.sql.shuffle.partitions" not in connect.options({})
