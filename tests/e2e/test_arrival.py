"""Pipelines that start when enough has arrived, and runs that wait: through the triggerer, assets and the scheduler."""

from __future__ import annotations

import json

import obstore
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from obstore.store import S3Store
from tests.e2e.house import House
from tests.servers import buckets

from tradewind.dev.servers.s3 import S3
from tradewind_runtime.connections import Connection, store_options

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


OBJECTS = """\
version: 1
pipeline: landings
schedule: {arrival: {source: weather, objects: 2, wait: 10m, poll: 1s}}
sources:
  weather: {objects: {connection: landing, uri: "s3://landing/weather/*.csv"}, columns: {n: long}}
"""
WAITS = """\
version: 1
pipeline: patient
sources:
  weather:
    objects: {connection: landing, uri: "s3://landing/daily/{window.date}/*.csv", wait: WAIT}
    columns: {n: long}
"""


@pytest.fixture(scope="module")
def landing(house: House, s3_server: S3) -> S3Store:
    """A bucket that the house's Airflow knows."""
    buckets.make(s3_server, "landing")
    text = s3_server.connections()["s3_default"]
    known = json.loads(text)
    body = {key: known[key] for key in ("conn_type", "login", "password")}
    extra = json.dumps(known["extra"])
    house.airflow.call("POST", "/connections", json={"connection_id": "landing", "extra": extra} | body)
    return S3Store("landing", **store_options(Connection.parse("landing", text)))


def test_enough_objects_start_a_run_and_what_it_reads_starts_no_other(house: House, landing: S3Store) -> None:
    house.write("landings.yaml", OBJECTS)
    house.until(lambda: house.dag("landings"), "the DAG")
    house.airflow.call("PATCH", "/dags/landings", json={"is_paused": False})

    def rows() -> list[float]:
        done = [run["dag_run_id"] for run in house.airflow.runs("landings") if run["state"] == "success"]
        return sorted(house.airflow.told("landings", run, "ingest_weather")["metrics"]["rows"] for run in done)

    obstore.put(landing, "weather/a.csv", b"n\n1\n")
    obstore.put(landing, "weather/b.csv", b"n\n2\n3\n")
    house.until(lambda: rows() == [3], "a run of what has arrived")
    assert [run["run_type"] for run in house.airflow.runs("landings")] == ["asset_triggered"]
    obstore.put(landing, "weather/c.csv", b"n\n4\n")
    house.kill("triggerer")
    obstore.put(landing, "weather/b.csv", b"n\n5\n")
    house.until(lambda: rows() == [2, 3], "a run of what has arrived since, by another triggerer")
    house.airflow.call("PATCH", "/dags/landings", json={"is_paused": True})


def test_a_run_waits_for_its_object_in_deferral_while_others_go_on(house: House, landing: S3Store) -> None:
    june = {"window_start": "2013-06-01T00:00:00Z", "window_end": "2013-06-02T00:00:00Z"}
    july = {"window_start": "2013-07-01T00:00:00Z", "window_end": "2013-07-02T00:00:00Z"}
    house.write("patient.yaml", WAITS.replace("WAIT", "1h"))
    house.until(lambda: house.dag("patient"), "the DAG")
    house.airflow.call("PATCH", "/dags/patient", json={"is_paused": False})
    house.trigger("patient", "june", **june)
    house.until(lambda: house.state("patient", "june", "pin") == "deferred", "the wait")
    obstore.put(landing, "daily/2013-07-01/a.csv", b"n\n1\n")
    assert house.run("patient", "july", **july)[0] == "success", "it has the lease, which who waits has not"
    assert house.state("patient", "june", "pin") == "deferred"
    house.kill("triggerer")
    obstore.put(landing, "daily/2013-06-01/a.csv", b"n\n1\n2\n")
    assert house.end("patient", "june")[0] == "success"
    assert house.airflow.told("patient", "june", "ingest_weather")["metrics"]["rows"] == 2


def test_a_run_that_has_waited_long_enough_fails_and_is_not_tried_again(house: House, landing: S3Store) -> None:
    del landing
    house.write("impatient.yaml", WAITS.replace("patient", "impatient").replace("WAIT", "3s"))
    house.until(lambda: house.dag("impatient"), "the DAG")
    house.airflow.call("PATCH", "/dags/impatient", json={"is_paused": False})
    window = {"window_start": "2013-08-01T00:00:00Z", "window_end": "2013-08-02T00:00:00Z"}
    state, tasks = house.run("impatient", "august", **window)
    assert (state, tasks["pin"], tasks["ingest_weather"]) == ("failed", "failed", "upstream_failed")
    log = house.log("impatient", "august", "pin")
    assert "was waited for 3s, and no object has come" in log
    assert "nothing at daily/2013-08-01/*.csv" in log
