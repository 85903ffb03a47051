"""Arrivals: real flights, a few broken, some late, and nothing twice, on a real broker and a real S3 server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import obstore
import pytest
from confluent_kafka import Consumer, TopicPartition
from obstore.store import from_url

from tradewind.demo import flights
from tradewind.demo.data import Given, arrive, given_to
from tradewind_runtime.connections import Connection, store_options

APRIL, MIDDLE, END = (datetime(2013, 4, day, tzinfo=UTC) for day in (1, 3, 5))


def test_windows_hold_every_flight_once_late_ones_in_the_next() -> None:
    first, second = (list(flights.messages(start, end)) for start, end in ((APRIL, MIDDLE), (MIDDLE, END)))
    assert list(flights.messages(APRIL, MIDDLE)) == first
    kinds = Counter(message.kind for message in first)
    assert kinds["broken"] == 3
    assert kinds["late"] > 0
    whole = [json.loads(m.content) for m in [*first, *second] if m.kind != "broken"]
    ids = [row["flight_id"] for row in whole]
    assert len(set(ids)) == len(ids)
    frame = flights.flights()
    sure = frame[(frame["dep_scheduled"] >= APRIL) & (frame["dep_scheduled"] < END - timedelta(days=2))]
    assert set(sure["flight_id"]) <= set(ids)
    late = [json.loads(m.content)["dep_scheduled"] for m in second if m.kind == "late"]
    assert late
    assert all(at < "2013-04-03" for at in late)


def test_a_flight_says_when_it_should_leave_in_utc() -> None:
    row = json.loads(next(m for m in flights.messages(datetime(2013, 1, 1, tzinfo=UTC), APRIL)).content)
    assert row["flight_id"] == "2013-01-01-UA-1545-EWR"
    assert row["dep_scheduled"] == "2013-01-01T10:15:00Z"
    assert (row["dep_time"], row["arr_delay"], row["distance"]) == (517, 11, 1400)
    cancelled = flights.flights()["arr_delay"].isna()
    assert 0.01 < cancelled.mean() < 0.05


def test_months_and_their_weather() -> None:
    assert flights.months(APRIL, MIDDLE) == ["2013-03", "2013-04"]
    assert flights.months(datetime(2013, 6, 24, tzinfo=UTC), datetime(2013, 7, 1, tzinfo=UTC)) == ["2013-06"]
    text = (flights.weather("2013-04") or b"").decode().splitlines()
    assert text[0].startswith("origin,year,month")
    assert {line.split(",")[2] for line in text[1:]} == {"4"}
    assert flights.weather("2014-04") is None


def test_rows_of_objects_are_counted_in_what_they_are_made_of() -> None:
    counted = {path: flights.rows(path, make() or b"") for path, make in flights.objects(APRIL, END).items()}
    weather = {"weather/2013-03.csv": 2227, "weather/2013-04.csv": 2159}
    assert counted == weather | {"planes/planes.parquet": 3322, "airports/airports.csv": 1458}


@pytest.fixture
def s3(s3_server: Any) -> Connection:
    return Connection.parse("s3_default", s3_server.connections()["s3_default"])


@pytest.mark.server
def test_done_twice_nothing_arrives_twice(kafka_broker: str, s3: Connection) -> None:
    told: list[int] = []
    first = arrive("w1", APRIL, MIDDLE, kafka=kafka_broker, s3=s3, topic="twice", on_progress=told.append)
    assert first.new
    assert told == sorted(told)
    assert told[-1] == first.flights + first.late + first.broken
    again = arrive("w1", APRIL, MIDDLE, kafka=kafka_broker, s3=s3, topic="twice")
    assert (again.new, again.objects, again.flights) == (False, 0, first.flights)
    second = arrive("w2", MIDDLE, END, kafka=kafka_broker, s3=s3, topic="twice")
    wanted = [m.content for span in ((APRIL, MIDDLE), (MIDDLE, END)) for m in flights.messages(*span)]
    assert sorted(contents(kafka_broker, "twice")) == sorted(wanted)
    assert second.late > 0
    books = given_to([(APRIL, MIDDLE), (MIDDLE, END)], kafka=kafka_broker, topic="twice")
    assert books["flights"].rows + books["flights"].broken == len(wanted)
    assert books["flights"].broken == first.broken + second.broken
    store = from_url("s3://landing", **store_options(s3))
    names = {str(item["path"]) for batch in obstore.list(store) for item in batch}
    assert (books["weather"], books["planes"], books["airports"]) == (Given(2227 + 2159), Given(3322), Given(1458))
    assert names >= {"weather/2013-03.csv", "weather/2013-04.csv", "planes/planes.parquet", "airports/airports.csv"}


@pytest.mark.server
def test_killed_it_leaves_nothing_half(kafka_broker: str, s3_server: Any, s3: Connection) -> None:
    code = (
        "import sys, time\n"
        "from datetime import datetime\n"
        "from tradewind.demo.data import arrive\n"
        "from tradewind_runtime.connections import Connection\n"
        "s3 = Connection.parse('s3', sys.argv[2])\n"
        "days = [datetime.fromisoformat(day) for day in sys.argv[3:]]\n"
        "def told(n):\n"
        "    print(n, flush=True)\n"
        "    if n >= 4000: time.sleep(600)\n"  # the transaction stays open while what is produced goes out
        "arrive('w1', *days, kafka=sys.argv[1], s3=s3, topic='killed', on_progress=told)\n"
    )
    later = APRIL + timedelta(days=10)
    arguments = [kafka_broker, s3_server.connections()["s3_default"], APRIL.isoformat(), later.isoformat()]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 4000:
            break
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    counts = arrive("w1", APRIL, later, kafka=kafka_broker, s3=s3, topic="killed")
    assert counts.new
    assert sorted(contents(kafka_broker, "killed")) == sorted(m.content for m in flights.messages(APRIL, later))


def contents(broker: str, topic: str) -> list[bytes]:
    """What a reader of committed messages sees."""
    consumer = Consumer({
        "bootstrap.servers": broker, "group.id": "test", "isolation.level": "read_committed",
        "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "earliest",
    })  # fmt: skip
    consumer.assign([TopicPartition(topic, partition, 0) for partition in (0, 1)])
    found, ended = [], 0
    while ended < 2:
        for message in consumer.consume(2000, 0.3):
            if message.error():
                ended += 1
            else:
                found.append(message.value())
    consumer.close()
    return found
