"""Objects that start runs, and runs that wait for objects: through the triggerer, assets and the scheduler."""

from __future__ import annotations

import json

import obstore
import pytest
from obstore.store import S3Store
from tests.e2e.house import House
from tests.servers import buckets

from tradewind.dev.servers.s3 import S3
from tradewind_runtime.connections import Connection, store_options

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(600)]
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
    house.airflow.unpause("landings")

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
    house.pause("landings")


def test_a_run_waits_for_its_object_in_deferral_while_others_go_on(house: House, landing: S3Store) -> None:
    june = {"window_start": "2013-06-01T00:00:00Z", "window_end": "2013-06-02T00:00:00Z"}
    july = {"window_start": "2013-07-01T00:00:00Z", "window_end": "2013-07-02T00:00:00Z"}
    house.write("patient.yaml", WAITS.replace("WAIT", "1h"))
    house.until(lambda: house.dag("patient"), "the DAG")
    house.airflow.unpause("patient")
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
    house.airflow.unpause("impatient")
    window = {"window_start": "2013-08-01T00:00:00Z", "window_end": "2013-08-02T00:00:00Z"}
    state, tasks = house.run("impatient", "august", **window)
    assert (state, tasks["pin"], tasks["ingest_weather"]) == ("failed", "failed", "upstream_failed")
    log = house.log("impatient", "august", "pin")
    assert "was waited for 3s, and no object has come" in log
    assert "nothing at daily/2013-08-01/*.csv" in log
