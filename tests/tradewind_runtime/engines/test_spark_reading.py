"""Ingestion of Kafka by Spark: the same rows as in one process, from one engine to the other, and what is told."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from pyspark.sql import SparkSession
from tests.tradewind_runtime.steprun import end_of, ingest_request, rows, start

from tradewind.plan.code import UserCode
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import CodeRef, StepRequest, StepResult
from tradewind_runtime.contract.sources import KafkaSource, Source
from tradewind_runtime.documents import Documents
from tradewind_runtime.engines.spark.session import session
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake

pytestmark = pytest.mark.server
SETTINGS = {"master": "local[2]", "driver_memory": "512m"}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One for all steps of this module that run in this process."""
    with session(SETTINGS, tmp_path_factory.mktemp("spark")) as found:
        yield found


class Topic:
    """Of its own for each test."""

    def __init__(self, broker: str, name: str, partitions: int = 3) -> None:
        self.broker, self.name = broker, name
        admin = AdminClient({"bootstrap.servers": broker})
        admin.create_topics([NewTopic(name, partitions, 1)])[name].result(20)
        self.connection = Connection("k", "kafka", "127.0.0.1", port=int(broker.rpartition(":")[2]))

    def source(self, columns: dict[str, str] | None = None, **more: Any) -> Source:
        kafka = KafkaSource(topic=self.name, connection="k", **more.pop("kafka", {}))
        return Source(kafka=kafka, columns=columns, **more)

    def send(self, *values: object, partition: int | None = None, abort: bool = False) -> None:
        settings: dict[str, Any] = {"bootstrap.servers": self.broker}
        producer = Producer(settings | ({"transactional.id": f"{time.time_ns()}"} if abort else {}))
        if abort:
            producer.init_transactions(20)
            producer.begin_transaction()
        for index, value in enumerate(values):
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            producer.produce(self.name, content, partition=index % 3 if partition is None else partition)
            producer.poll(0)
        assert producer.flush(20) == 0
        if abort:
            producer.abort_transaction(20)

    def request(self, lake: str, source: Source, engine: str, run: str = "r1", **more: Any) -> StepRequest:
        end = end_of(lake, source, connection=self.connection)
        found = ingest_request(lake, source, end, run=run, connection="k", **more)
        return found.model_copy(update={"engine": engine, "settings": found.settings | {"spark": SETTINGS}})

    def read(self, lake: str, source: Source, engine: str, run: str = "r1", **more: Any) -> StepResult:
        return execute(self.request(lake, source, engine, run, **more))


@pytest.fixture
def topic(kafka_broker: str, monkeypatch: pytest.MonkeyPatch) -> Topic:
    monkeypatch.setenv("AIRFLOW_CONN_K", f"kafka://{kafka_broker}")
    return Topic(kafka_broker, f"spark-{time.time_ns()}")


def flight(n: int, **more: object) -> dict[str, object]:
    return {"n": n, "time": f"2013-01-{n % 28 + 1:02d}T05:00:00Z", "carrier": "UA"} | more


def plain(lake: str, table: str = "flights_raw") -> list[dict[str, Any]]:
    """Rows in an order, without the moments at which they came."""
    kept = [
        {name: value for name, value in row.items() if name not in ("_ingested", "ingested")}
        for row in rows(lake, table)
    ]
    return sorted(kept, key=repr)


def test_the_rows_of_one_process(topic: Topic, tmp_path: Path, spark: SparkSession) -> None:
    """Several commits, aborted transactions, broken messages, some partitions with more than others."""
    topic.send(*(flight(n) if n % 70 else b"broken %d" % n for n in range(700)))
    topic.send(*(flight(n) for n in range(300)), partition=1, abort=True)
    topic.send(*(flight(n, carrier=None) for n in range(700, 1500)), partition=1)
    source = topic.source(time="time", max_bad=0.1)
    found = {}
    for engine in ("python", "spark"):
        lake = (tmp_path / engine).as_uri()
        result = topic.read(lake, source, engine, chunk=200)
        wanted = {"rows": 1490, "bad": 10}
        assert {name: result.metrics[name] for name in wanted} == wanted
        positions = Lake(lake).table("demo/flights_raw").positions([f"kafka:{topic.name}:{p}" for p in range(3)])
        found[engine] = (plain(lake), plain(lake, "flights_quarantine"), positions, result.facts["positions"])
    assert found["spark"] == found["python"]
    table = Lake((tmp_path / "spark").as_uri()).table("demo/flights_raw")
    assert len([commit for commit in table.history() if commit.told.get("rows")]) > 2
    assert table.schema() == Lake((tmp_path / "python").as_uri()).table("demo/flights_raw").schema()


def test_from_one_engine_to_the_other_and_back(topic: Topic, lake_uri: str, spark: SparkSession) -> None:
    source = topic.source(max_bad=0.2)
    for run, engine in enumerate(("python", "spark", "spark", "python", "spark")):
        topic.send(*(flight(n) if n % 10 else b"broken %d" % n for n in range(run * 60, run * 60 + 60)))
        topic.read(lake_uri, source, engine, f"r{run}")
    assert sorted(row["n"] for row in rows(lake_uri)) == [n for n in range(300) if n % 10]
    refused = sorted(row["content"] for row in rows(lake_uri, "flights_quarantine"))
    assert refused == sorted(b"broken %d" % n for n in range(0, 300, 10))


def test_nothing_new_starts_no_spark(topic: Topic, lake_uri: str) -> None:
    topic.send(*(flight(n) for n in range(9)))
    source = topic.source()
    topic.read(lake_uri, source, "python")
    request = topic.request(lake_uri, source, "spark", "r2")
    request = request.model_copy(update={"settings": {"spark": {"java_home": "/nowhere"}}})
    assert execute(request).metrics["rows"] == 0


def test_a_topic_without_messages(topic: Topic, lake_uri: str) -> None:
    result = topic.read(lake_uri, topic.source({"n": "long"}), "spark")
    assert result.metrics["rows"] == 0
    assert rows(lake_uri) == []
    assert Lake(lake_uri).table("demo/flights_raw").position(f"kafka:{topic.name}:0") == 0


def test_columns_that_come_up_in_several_tasks(topic: Topic, lake_uri: str, spark: SparkSession) -> None:
    """Each task meets another type: they agree on the one that holds all; what fits none is refused."""
    # 30,000 offsets are two tasks.
    topic.send(*(flight(n, gate=1) for n in range(20_000)), partition=0)
    topic.send(*(flight(n, gate=1.5, stand="A") for n in range(20_000, 30_000)), partition=0)
    result = topic.read(lake_uri, topic.source(), "spark")
    assert result.metrics["rows"] == 30_000
    table = Lake(lake_uri).table("demo/flights_raw").snapshot().to_arrow().sort_by("n")
    assert table.schema.field("gate").type == pa.float64()
    assert table["gate"].to_pylist() == [1.0] * 20_000 + [1.5] * 10_000
    assert table["stand"].to_pylist() == [None] * 20_000 + ["A"] * 10_000
    assert table.schema.names[-4:] == ["_source", "_position", "_ingested", "_timestamp"]
    topic.send(*(flight(n, gate="B") if n % 2 else flight(n, gate=2) for n in range(40)), partition=2)
    topic.read(lake_uri, topic.source(max_bad=30), "spark", "r2")
    assert len(rows(lake_uri, "flights_quarantine")) == 20


def test_a_first_run_takes_the_columns_of_the_first_rows(topic: Topic, lake_uri: str, spark: SparkSession) -> None:
    topic.send(*(flight(n) for n in range(20_000)), partition=0)
    topic.send(*(flight(n, stand="A") for n in range(20_000, 30_000)), partition=0)
    result = topic.read(lake_uri, topic.source(new_columns="quarantine", max_bad=0.5), "spark")
    assert result.metrics == result.metrics | {"rows": 20_000, "bad": 10_000}
    assert {row["reason"] for row in rows(lake_uri, "flights_quarantine")} == {"the column stand is new"}


def test_what_a_task_cannot_do_is_told_as_its_own_error(topic: Topic, lake_uri: str, spark: SparkSession) -> None:
    topic.send(*(flight(n) for n in range(9)))
    topic.read(lake_uri, topic.source(new_columns="strict"), "spark")
    topic.send(flight(9, stand="A"), partition=2)
    with pytest.raises(StepError, match=r"TW529: the source has a new column, 'stand'") as found:
        topic.read(lake_uri, topic.source(new_columns="strict"), "spark", "r2")
    assert not found.value.retryable
    assert found.value.problems[0].got == f"{topic.name}-2 at 3"
    topic.send(b"broken", b"broken", partition=1)
    with pytest.raises(StepError, match=r"TW523 .*: 2 of 3 rows"):
        topic.read(lake_uri, topic.source(max_bad=1), "spark", "r3")
    assert len(rows(lake_uri)) == 9


def test_schema_files_go_to_the_tasks(topic: Topic, lake_uri: str, spark: SparkSession) -> None:
    schema = {"type": "record", "name": "F", "fields": [{"name": "n", "type": "long"}]}
    code = UserCode({"include/schemas/flights.avsc": json.dumps(schema).encode()})
    Documents(lake_uri).create(f"code/{code.digest}.tar.gz", code.archive)
    topic.send(b"\x02", b"\x04", b"\x06")
    source = topic.source(kafka={"format": "avro", "schema_file": "flights.avsc"})
    topic.read(lake_uri, source, "spark", code=CodeRef(archive=code.digest, closure=code.digest))
    assert sorted(row["n"] for row in rows(lake_uri)) == [1, 2, 3]


def test_kill_9_anywhere_and_a_retry_give_each_row_once(topic: Topic, lake_uri: str) -> None:
    """Killed while Spark's tasks read, or between two commits; some attempts are of the other engine."""
    chance = random.Random(7)
    topic.send(*(flight(n) if n % 50 else b"broken %d" % n for n in range(24_000)))
    request = topic.request(lake_uri, topic.source(max_bad=0.1), "spark", chunk=1_000)
    table = Lake(lake_uri).table("demo/flights_raw")
    for attempt in range(4):
        process = start(request.model_copy(update={"engine": "python"}) if attempt == 2 else request, f"kill{attempt}")
        committed, until = table.version() or 0, time.monotonic() + 60
        while process.poll() is None and (table.version() or 0) < committed + 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(chance.random() * 0.3)
        process.kill()
        process.wait()
    process = start(request, "last")
    assert process.wait(90) == 0, process.stderr and process.stderr.read().decode()
    found = [(row["_source"], row["_position"]) for row in rows(lake_uri)]
    refused = [(row["source"], row["position"]) for row in rows(lake_uri, "flights_quarantine")]
    assert sorted(found + refused) == sorted((f"{topic.name}-{p}", n) for p in range(3) for n in range(8_000))
    assert len(refused) == 480


def test_a_spark_elsewhere_goes_on_where_this_process_ended(
    topic: Topic, lake_uri: str, spark_elsewhere: dict[str, Any]
) -> None:
    """In a process of its own, by workers that it did not start."""
    topic.send(*(flight(n) for n in range(1_000)))
    topic.read(lake_uri, topic.source(), "python")
    topic.send(*(flight(n) for n in range(1_000, 3_000)))
    request = topic.request(lake_uri, topic.source(), "spark", "r2")
    asked = request.model_copy(update={"settings": {"spark": spark_elsewhere}})
    process = start(asked, "elsewhere")
    assert process.wait(180) == 0, process.stderr and process.stderr.read().decode()
    assert sorted(row["n"] for row in rows(lake_uri)) == list(range(3_000))
    result = Documents(lake_uri).get_model(asked.result_path, StepResult)
    assert result is not None
    told = [one["application"][:4] for one in result.facts.get("spark", [])]
    assert told == (["app-"] if str(spark_elsewhere["master"]).startswith("spark://") else [])
