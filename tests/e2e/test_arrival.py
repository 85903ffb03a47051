"""A pipeline that starts by what arrives: through the triggerer, an asset and the scheduler; then its small files."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tests.e2e.house import House
from tests.e2e.slow import lake_of

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(600)]
YAML = """\
version: 1
pipeline: arrivals
schedule: {arrival: {source: clicks, messages: 50, wait: 10m, poll: 1s}}
sources:
  clicks: {kafka: {connection: arrivals_kafka, topic: clicks}, columns: {n: long}}
maintenance: {}
"""
MANY, FEW = range(120), range(120, 127)


def send(broker: str, numbers: range) -> None:
    producer = Producer({"bootstrap.servers": broker})
    for n in numbers:
        producer.produce("clicks", json.dumps({"n": n}))
    assert producer.flush(20) == 0


def done(house: House) -> list[str]:
    return [run["dag_run_id"] for run in house.airflow.runs("arrivals") if run["state"] == "success"]


@pytest.fixture(scope="module")
def arrivals(house: House, kafka_broker: str) -> Iterator[House]:
    """The pipeline after two runs: of many messages at once, and of few, once that is how it is to start."""
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    admin.create_topics([NewTopic("clicks", 2, 1)])["clicks"].result(20)
    host, _, port = kafka_broker.rpartition(":")
    connection = {"connection_id": "arrivals_kafka", "conn_type": "kafka", "host": host, "port": int(port)}
    house.airflow.call("POST", "/connections", json=connection)
    house.write("arrivals.yaml", YAML)
    house.until(lambda: house.dag("arrivals"), "the DAG")
    house.airflow.unpause("arrivals")
    send(kafka_broker, MANY[:49])
    send(kafka_broker, MANY[49:])
    house.until(lambda: len(done(house)) == 1, "a run, for they are enough")
    house.write("arrivals.yaml", YAML.replace("messages: 50, wait: 10m", "messages: 100000, wait: 5s"))
    send(kafka_broker, FEW)
    house.until(lambda: len(done(house)) == 2, "a run, for time has passed")
    yield house
    house.pause("arrivals")


def test_enough_messages_or_time_start_a_run_and_what_it_reads_starts_no_other(arrivals: House) -> None:
    runs = arrivals.airflow.runs("arrivals")
    assert [run["run_type"] for run in runs] == ["asset_triggered"] * 2
    read = [arrivals.airflow.told("arrivals", run["dag_run_id"], "ingest_clicks")["metrics"]["rows"] for run in runs]
    assert read == [len(MANY), len(FEW)]


def test_the_dag_of_maintenance_puts_its_small_files_together(arrivals: House) -> None:
    lake = lake_of(arrivals)

    def files() -> dict[str, int]:
        return {name: len(lake.table(name).snapshot().files) for name in lake.tables() if name.startswith("arrivals/")}

    before = files()
    assert min(before["arrivals/clicks_raw"], before["arrivals/clicks"]) > 1
    arrivals.airflow.unpause("arrivals__maintenance")  # the week that has ended is due at once
    run_id = arrivals.airflow.await_run("arrivals__maintenance", set())
    assert arrivals.end("arrivals__maintenance", run_id) == ("success", {"maintain": "success", "release": "success"})
    told = arrivals.airflow.told("arrivals__maintenance", run_id, "maintain")["metrics"]
    assert told["compacted_files"] == sum(count for count in before.values() if count > 1)
    assert files() == {name: min(count, 1) for name, count in before.items()}
    for name in ("clicks_raw", "clicks"):
        found = lake.table(f"arrivals/{name}").snapshot().to_arrow()["n"].to_pylist()
        assert sorted(found) == [*MANY, *FEW]
    (run,) = arrivals.airflow.runs("arrivals__maintenance")
    assert run["run_type"] == "scheduled"
    arrivals.pause("arrivals__maintenance")
