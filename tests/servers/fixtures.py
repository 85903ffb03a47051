"""Real servers on free ports of the loopback, in a folder of their own, by the code of `tradewind dev`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers.schema_registry import SchemaRegistry
    from tests.servers.spark_cluster import SparkCluster
    from tests.servers.spark_connect import SparkConnect

    from tradewind.dev.servers.s3 import S3


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker."""
    from tradewind.dev.running import start
    from tradewind.dev.servers.kafka import Kafka

    with start(Kafka.at(tmp_path_factory.mktemp("kafka broker"), heap_mb=384)) as running:
        yield running.server.address


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 server: its `address`, `key`, `secret` and `connections()`."""
    from tradewind.dev.running import start
    from tradewind.dev.servers.s3 import S3

    with start(S3.at(tmp_path_factory.mktemp("s3 server"))) as running:
        yield running.server


@pytest.fixture
def lake_uri(tmp_path: Path) -> str:
    """An empty lake, in a folder with a space."""
    return (tmp_path / "a lake").as_uri()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server."""
    from tradewind.dev.running import start
    from tradewind.dev.servers.mlflow import MLflow

    with start(MLflow.at(tmp_path_factory.mktemp("mlflow server"))) as running:
        yield running.server.address


@pytest.fixture(scope="session")
def schema_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SchemaRegistry]:
    """A Schema Registry: `register`, and its `connections()`."""
    from tests.servers.schema_registry import SchemaRegistry

    from tradewind.dev.running import start

    with start(SchemaRegistry.at(tmp_path_factory.mktemp("schema registry"))) as running:
        yield running.server


@pytest.fixture
def spark_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """A master and two workers; one of a test's own, which may lose one."""
    from tests.servers.spark_cluster import cluster

    with cluster(tmp_path_factory.mktemp("spark cluster")) as running:
        yield running


@pytest.fixture(scope="session")
def spark_connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkConnect]:
    """A server of Spark Connect that ends what is running soon after its client has gone."""
    from tests.servers.spark_connect import SparkConnect

    from tradewind.dev.running import start

    times = {"manager.detachedTimeout": 3, "manager.maintenanceInterval": 1, "reattachable.senderMaxStreamDuration": 2}
    options = {f"spark.connect.execute.{name}": f"{seconds}s" for name, seconds in times.items()}
    with start(SparkConnect.at(tmp_path_factory.mktemp("spark connect"), options=options)) as running:
        yield running.server


@pytest.fixture(params=["standalone", "connect"])
def spark_elsewhere(request: pytest.FixtureRequest) -> dict[str, object]:
    """`settings.spark` of a Spark that the step does not start."""
    if request.param == "connect":
        return {"master": request.getfixturevalue("spark_connect").address}
    master = request.getfixturevalue("spark_cluster").address
    return {"master": master, "driver_memory": "512m", "options": {"spark.executor.memory": "512m"}}
