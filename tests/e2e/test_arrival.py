"""A pipeline that starts when enough has arrived: through the triggerer, an asset and the scheduler."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tests.e2e.house import House

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(600)]
YAML = """\
version: 1
pipeline: arrivals
schedule: {arrival: {source: clicks, messages: 50, wait: 10m, poll: 1s}}
sources:
  clicks: {kafka: {connection: arrivals_kafka, topic: clicks}, columns: {n: long}}
"""


def send(broker: str, numbers: range) -> None:
    producer = Producer({"bootstrap.servers": broker})
    for n in numbers:
        producer.produce("clicks", json.dumps({"n": n}))
    assert producer.flush(20) == 0


def test_enough_messages_start_a_run_and_what_it_reads_starts_no_other(house: House, kafka_broker: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    admin.create_topics([NewTopic("clicks", 2, 1)])["clicks"].result(20)
    host, _, port = kafka_broker.rpartition(":")
    connection = {"connection_id": "arrivals_kafka", "conn_type": "kafka", "host": host, "port": int(port)}
    house.airflow.call("POST", "/connections", json=connection)
    house.write("arrivals.yaml", YAML)
    house.until(lambda: house.dag("arrivals"), "the DAG")
    house.airflow.call("PATCH", "/dags/arrivals", json={"is_paused": False})

    def done() -> list[str]:
        return [run["dag_run_id"] for run in house.airflow.runs("arrivals") if run["state"] == "success"]

    send(kafka_broker, range(49))
    send(kafka_broker, range(49, 120))
    house.until(lambda: len(done()) == 1, "a run of what has arrived")
    (first,) = house.airflow.runs("arrivals")
    assert first["run_type"] == "asset_triggered"
    assert house.airflow.told("arrivals", first["dag_run_id"], "ingest_clicks")["metrics"]["rows"] == 120
    send(kafka_broker, range(120, 180))
    house.until(lambda: len(done()) == 2, "a run of what has arrived since")
    read = [house.airflow.told("arrivals", run, "ingest_clicks")["metrics"]["rows"] for run in done()]
    assert sorted(read) == [60, 120]
    house.airflow.call("PATCH", "/dags/arrivals", json={"is_paused": True})
