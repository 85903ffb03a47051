"""Spark on a standalone cluster: what comes out, what is lost on the way, and what is told where it cannot be."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.servers import buckets
from tests.servers.spark_cluster import SparkCluster, cluster
from tests.tradewind_runtime.engines.spark_house import House, failure, right, succeed, words
from tests.tradewind_runtime.steprun import wait_for

from tradewind.dev.ports import choose
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines.spark import standalone
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake

SECRET = "a secret: with %"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(Lake((tmp_path / "a lake").as_uri()), tmp_path / "marks")
    yield made
    made.close()


@pytest.mark.server
def test_the_rows_are_those_of_a_local_spark_and_nothing_is_left(spark_cluster: SparkCluster, house: House) -> None:
    executors = {"min": 1, "max": 2, "cpu": 1, "memory": "1Gi"}
    on_cluster = house.request({"master": spark_cluster.address, "executors": executors, "options": {}}, wait=1)
    step = house.start(on_cluster)
    wait_for(spark_cluster.master.applications, 60)
    assert spark_cluster.master.applications() == ["p.transform r"]
    succeed(step)
    wait_for(lambda: not spark_cluster.master.applications(), 20)
    here = house.request({"master": "local[2]"}, refresh="again")
    succeed(house.start(here))
    assert right(house.rows(on_cluster))
    assert house.rows(on_cluster).equals(house.rows(here))
    assert any("/events_1_" in name for name in house.lake.documents.names("spark-events"))


@pytest.mark.server
def test_a_worker_that_is_lost_costs_no_row(spark_cluster: SparkCluster, house: House) -> None:
    request = house.request({"master": spark_cluster.address}, wait=2)
    step = house.start(request)
    wait_for(lambda: len({one.name.split("-")[2] for one in house.marks.iterdir()}) == 2)  # both are at it
    spark_cluster.lose(0)
    succeed(step)
    assert right(house.rows(request))
    assert len(list(house.marks.iterdir())) > 8, "what was under way there is done again"
    assert house.lake.table("p/features").snapshot().count() == 144


@pytest.mark.server
def test_a_master_that_goes_meanwhile_costs_nothing(spark_cluster: SparkCluster, house: House) -> None:
    request = house.request({"master": spark_cluster.address}, wait=1)
    step = house.start(request)
    wait_for(lambda: len({one.name.split("-")[2] for one in house.marks.iterdir()}) == 2)
    spark_cluster.leader.kill()
    succeed(step)
    assert right(house.rows(request))


@pytest.mark.server
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_cancelled_step_leaves_no_application(spark_cluster: SparkCluster, house: House, how: int) -> None:
    step = house.start(house.request({"master": spark_cluster.address}, wait=60))
    wait_for(lambda: list(house.marks.iterdir()))
    assert spark_cluster.master.applications()
    step.send_signal(how)
    step.wait(30)
    wait_for(lambda: not spark_cluster.master.applications(), 30)
    workers = [int(one.name.split("-")[1]) for one in house.marks.iterdir()]
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in workers), 30)
    assert not house.lake.table("p/features").exists()


@pytest.mark.server
def test_a_cluster_with_no_room_is_told(spark_cluster: SparkCluster, house: House) -> None:
    asked = {"executors": {"max": 1, "memory": "64Gi"}, "pending_timeout": 3, "options": {}}
    said = failure(house.start(house.request({"master": spark_cluster.address, **asked})))
    assert "TW546" in said
    assert f"no executor of {spark_cluster.address} came within 3 s" in said
    wait_for(lambda: not spark_cluster.master.applications(), 20)


@pytest.mark.server
def test_a_cluster_that_has_lost_all_workers_is_not_waited_for(spark_cluster: SparkCluster, house: House) -> None:
    step = house.start(house.request({"master": spark_cluster.address, "pending_timeout": 3}, wait=60))
    wait_for(lambda: list(house.marks.iterdir()))
    for number in range(2):
        spark_cluster.lose(number)
    assert f"no executor of {spark_cluster.address} came within 3 s" in failure(step)


@pytest.mark.server
def test_workers_without_that_python_are_told(spark_cluster: SparkCluster, house: House) -> None:
    said = failure(house.start(house.request({"master": spark_cluster.address, "python": "/nowhere/python"})))
    assert "TW546" in said
    assert "Spark's workers cannot start the Python /nowhere/python" in said


@pytest.mark.server
@pytest.mark.timeout(600)  # Spark asks for a minute before it says that it is refused
def test_a_cluster_with_a_secret_takes_who_knows_it(tmp_path: Path, house: House) -> None:
    with cluster(tmp_path / "cluster", workers=1, secret=SECRET) as running:
        request = house.request({"master": running.address, "connection": "spark_default"}, wait=1)
        told = json.dumps({"conn_type": "spark", "password": SECRET})
        step = house.start(request, AIRFLOW_CONN_SPARK_DEFAULT=told)
        wait_for(running.master.applications, 60)
        below = words(step.pid)
        assert any("spark.authenticate=true" in word for word in below)
        assert not any(SECRET in word for word in below), "everybody reads a command line"
        succeed(step)
        assert right(house.rows(request))
        wrong = json.dumps({"conn_type": "spark", "password": "another"})
        began = time.monotonic()
        step = house.start(request.model_copy(update={"refresh": "wrong"}), AIRFLOW_CONN_SPARK_DEFAULT=wrong)
        said = failure(step)
        assert "TW546" in said
        assert "the Spark master took no application" in said
        assert running.address in said
        assert time.monotonic() - began < 90


@pytest.mark.server
def test_a_lake_on_s3_is_read_and_written_by_workers_that_have_nothing(
    spark_cluster: SparkCluster, s3_server: Any, tmp_path: Path
) -> None:
    buckets.make(s3_server, "standalone")
    connection = s3_server.connections()["s3_default"]
    house = House(Lake("s3://standalone/a lake", Connection.parse("s3", connection)), tmp_path / "marks")
    request = house.request({"master": spark_cluster.address}, connections={"lake": "s3_default"})
    succeed(house.start(request, AIRFLOW_CONN_S3_DEFAULT=connection))
    assert right(house.rows(request))


def test_a_master_that_is_away_is_told_at_once(house: House) -> None:
    ports = choose({"one": None, "other": None})
    master = f"spark://127.0.0.1:{ports['one']},127.0.0.1:{ports['other']}"
    began = time.monotonic()
    with pytest.raises(StepError, match=f"no Spark master answers at {master}") as caught:
        execute(house.request({"master": master}))
    assert time.monotonic() - began < 30
    problem = caught.value.problems[0]
    assert problem.code == "TW546"
    assert str(ports["other"]) in str(problem.got)
    assert caught.value.retryable


def test_the_driver_is_where_the_master_sees_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        away = choose({"one": None})["one"]
        master = f"spark://127.0.0.1:{away},127.0.0.1:{listening.getsockname()[1]}"
        assert standalone.driver({"master": master}) == {
            "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"
        }  # fmt: skip
        known = standalone.driver({"master": master, "driver_host": "step.example.com"})
        assert known == {"spark.driver.host": "step.example.com", "spark.driver.bindAddress": "127.0.0.1"}
