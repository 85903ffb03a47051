"""A partition's leader that goes while it is read: another one takes over, and nothing is lost or doubled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tests.servers.second_broker import SecondBroker
from tests.tradewind_runtime.steprun import ingest_request, rows, start, wait_for

from tradewind.dev.running import start as serve
from tradewind.dev.servers.kafka import Kafka
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Lake
from tradewind_runtime.sources import Access, kafka

pytestmark = pytest.mark.server
ROWS, PAD = 6_000, "x" * 8_000  # more than a client fetches ahead


def test_a_leader_that_is_killed_while_it_is_read(
    tmp_path: Path, lake_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Kafka.at(tmp_path / "first", heap_mb=256)
    with serve(first), serve(SecondBroker.at(tmp_path / "second", heap_mb=256, first=first)) as second:
        both = f"{second.server.address},{first.address}"
        text = json.dumps({"conn_type": "kafka", "extra": {"bootstrap.servers": both}})
        monkeypatch.setenv("AIRFLOW_CONN_K", text)
        admin = AdminClient({"bootstrap.servers": both})
        admin.create_topics([NewTopic("led", 1, replica_assignment=[[2, 1]])])["led"].result(20)
        producer = Producer({"bootstrap.servers": both, "acks": "all", "compression.type": "none"})
        for n in range(ROWS):
            producer.produce("led", json.dumps({"n": n, "note": PAD}))
        assert producer.flush(20) == 0
        assert admin.list_topics("led").topics["led"].partitions[0].leader == 2

        source = Source.model_validate({"kafka": {"topic": "led", "connection": "k"}, "columns": {"n": "long"}})
        end = kafka.end_position(source, Access(lake=Lake(lake_uri), connection=Connection.parse("k", text)))
        request = ingest_request(lake_uri, source, end, connection="k", chunk=300)
        process, table = start(request, "led"), Lake(lake_uri).table("demo/flights_raw")
        wait_for(lambda: process.poll() is not None or (table.version() or 0) >= 3, 30)
        second.kill()
        assert process.poll() is None, "it is still reading"
        assert process.wait(100) == 0, process.stderr.read().decode() if process.stderr else ""
        assert admin.list_topics("led", timeout=20).topics["led"].partitions[0].leader == 1
    assert sorted(row["n"] for row in rows(lake_uri)) == list(range(ROWS))
