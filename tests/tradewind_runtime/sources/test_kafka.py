"""Kafka against a real broker: each message once, whatever happens."""

import json
import random
import time
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from tests.tradewind_runtime.steprun import ingest, ingest_request, rows, start, wait_for

from tradewind_runtime import quarantine
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.sources import KafkaSource, Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.sources import Access, kafka

pytestmark = pytest.mark.server
COLUMNS = {"n": "long", "time": "timestamp", "delay": "double", "carrier": "string"}
MANY, SIZE = 8_000, 8_000  # messages and their bytes: far more than a reader has before it commits them
AHEAD = 20 * 1024 * 1024  # bytes that it may have: in the client's queue, on their way, and in hand


class Topic:
    """A topic of its own for each test."""

    def __init__(self, broker: str, name: str, partitions: int = 2, **settings: str) -> None:
        self.broker, self.name = broker, name
        self.admin = AdminClient({"bootstrap.servers": broker})
        self.admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(20)
        self.connection = Connection("k", "kafka", "127.0.0.1", port=int(broker.rpartition(":")[2]))

    def source(self, **more) -> Source:
        chosen = {key: more.pop(key) for key in ("start", "isolation") if key in more}
        return Source(kafka=KafkaSource(topic=self.name, connection="k", **chosen), **({"columns": COLUMNS} | more))

    def send(self, *values: bytes | dict | None, partition: int | None = None) -> None:
        producer = Producer({"bootstrap.servers": self.broker, "linger.ms": 5})
        for index, value in enumerate(values):
            content = json.dumps(value).encode() if isinstance(value, dict) else value
            producer.produce(self.name, content, partition=index % 2 if partition is None else partition)
            producer.poll(0)
        assert producer.flush(20) == 0

    def send_many(self) -> None:
        self.send(*(message(n, pad="x" * SIZE) for n in range(MANY)))

    def committed(self, table: Table) -> int:
        """How many of its messages a table has."""
        return sum(at or 0 for at in table.positions(f"kafka:{self.name}:{p}" for p in (0, 1)).values())

    def end(self, source: Source | None = None) -> dict[str, int]:
        return kafka.end_position(source or self.source(), Access(lake=None, connection=self.connection))


@pytest.fixture
def topic(kafka_broker, request, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_K", f"kafka://{kafka_broker}")
    return Topic(kafka_broker, f"{request.node.name}-{time.time_ns()}".replace("[", "-").replace("]", ""))


def message(n: int, **more) -> dict:
    return {"n": n, "time": f"2013-01-{n % 28 + 1:02d}T05:00:00Z", "delay": n / 2, "carrier": "UA", "extra": [1]} | more


def test_rows_come_typed_and_with_their_provenance(topic, lake_uri):
    topic.send(*(message(n) for n in range(100)))
    result = ingest(lake_uri, topic.source(time="time"), topic.end(), connection="k")
    found = sorted(rows(lake_uri), key=lambda row: row["n"])
    assert result.metrics["rows"] == 100
    assert result.metrics["bad"] == 0
    assert [row["n"] for row in found] == list(range(100))
    assert found[3]["time"] == datetime(2013, 1, 4, 5, tzinfo=UTC)
    assert found[3]["delay"] == 1.5
    assert {(row["_source"], row["_position"]) for row in found} == {
        (f"{topic.name}-{p}", offset) for p in (0, 1) for offset in range(50)
    }
    assert all(abs(time.time() - row["_timestamp"].timestamp()) < 120 for row in found)
    assert "extra" not in found[0]
    snapshot = Lake(lake_uri).table("demo/flights_raw").snapshot()
    assert len(snapshot.files) == 28, "cut by day"


def test_broken_messages_go_to_quarantine_with_their_reason(topic, lake_uri):
    broken = {
        b"{": "not JSON",
        b'{"n":"\xff"}': "not UTF-8",
        b'{"n":1.5}': "column n",
        b'{"n":"12"}': "column n",
        b'{"delay":NaN}': "NaN",
        b"null": "null where an object",
        b"[]": "a list",
        b"": "not JSON",
        b'{"time":"yesterday"}': "column time",
        b'{"time":5}': "column time",
        b'{"n":1}{"n":2}': "not JSON",
        b'{"n":1}}\n{"v":{"n":2}': "not JSON",
        None: "tombstone",
    }
    for value in broken:
        topic.send(message(1), value, message(2), partition=0)
    result = ingest(lake_uri, topic.source(max_bad=100), topic.end(), connection="k")
    refused = {row["content"]: row for row in rows(lake_uri, "flights_quarantine")}
    assert result.metrics == result.metrics | {"rows": 26, "bad": 13}
    for index, (value, reason) in enumerate(broken.items()):
        assert reason in refused[value]["reason"], refused[value]
        assert refused[value]["source"] == f"{topic.name}-0"
        assert refused[value]["position"] == 3 * index + 1
        assert refused[value]["stage"] == "ingest"


def test_too_many_broken_messages_stop_the_run_and_nothing_is_lost(topic, lake_uri):
    topic.send(*(message(n) for n in range(10)), b"broken")
    with pytest.raises(StepError, match=r"TW523 .*: 1 of 11 rows"):
        ingest(lake_uri, topic.source(), topic.end(), connection="k")
    assert rows(lake_uri) == []
    result = ingest(lake_uri, topic.source(max_bad=0.2), topic.end(), connection="k")
    assert result.metrics == result.metrics | {"rows": 10, "bad": 1}
    assert len(rows(lake_uri, "flights_quarantine")) == 1


def test_each_run_goes_on_where_the_last_ended_and_counts_late_rows(topic, lake_uri):
    window = Window(start=datetime(2013, 1, 10, tzinfo=UTC), end=datetime(2013, 2, 1, tzinfo=UTC))
    topic.send(*(message(n) for n in range(10)))
    first = topic.end()
    topic.send(*(message(n) for n in range(10, 20)))
    assert ingest(lake_uri, topic.source(), first, connection="k").metrics["rows"] == 10
    result = ingest(lake_uri, topic.source(time="time"), topic.end(), connection="k", run="r2", window=window)
    assert result.metrics == result.metrics | {"rows": 10, "late": 0}
    topic.send(message(2), message(25))
    result = ingest(lake_uri, topic.source(time="time"), topic.end(), connection="k", run="r3", window=window)
    assert result.metrics == result.metrics | {"rows": 2, "late": 1}
    assert result.facts["positions"][f"kafka:{topic.name}:0"] == {"start": 10, "end": 11}
    version = result.outputs["rows"].version
    again = ingest(lake_uri, topic.source(), first, connection="k", run="r4")
    assert again.metrics["rows"] == 0, "an older pin has nothing left to read"
    assert again.outputs["rows"].version == version


def test_aborted_messages_are_never_seen_and_a_topic_may_end_in_control_records(topic, lake_uri):
    producer = Producer({"bootstrap.servers": topic.broker, "transactional.id": topic.name})
    producer.init_transactions(20)
    for commit in (True, False):
        producer.begin_transaction()
        for n in range(5):
            producer.produce(topic.name, json.dumps(message(n)).encode(), partition=0)
        producer.flush(20)
        producer.commit_transaction(20) if commit else producer.abort_transaction(20)
    producer.begin_transaction()
    producer.produce(topic.name, b'{"n":99}', partition=0)
    producer.flush(20)
    assert topic.end() == {"0": 12, "1": 0}, "up to the open transaction"
    ingest(lake_uri, topic.source(), topic.end(), connection="k")
    assert sorted(row["n"] for row in rows(lake_uri)) == [0, 1, 2, 3, 4]
    assert Lake(lake_uri).table("demo/flights_raw").position(f"kafka:{topic.name}:0") == 12
    producer.commit_transaction(20)
    ingest(lake_uri, topic.source(), topic.end(), connection="k", run="r2")
    assert sorted(row["n"] for row in rows(lake_uri)) == [0, 1, 2, 3, 4, 99]


def test_offsets_that_are_gone_are_told_and_not_jumped_over(topic, lake_uri):
    topic.send(*(message(n) for n in range(20)), partition=0)
    ingest(lake_uri, topic.source(), {"0": 5, "1": 0}, connection="k")
    gone = topic.admin.delete_records([TopicPartition(topic.name, 0, 12)])
    next(iter(gone.values())).result(20)
    with pytest.raises(StepError, match=r"TW524: 7 offsets of partition 0"):
        ingest(lake_uri, topic.source(), topic.end(), connection="k", run="r2")
    fresh = lake_uri + "2"
    ingest(fresh, topic.source(), topic.end(), connection="k")
    assert sorted(row["n"] for row in rows(fresh)) == list(range(12, 20)), "a first run begins with what there is"


def test_a_first_run_from_the_latest_reads_what_comes_after(topic, lake_uri):
    source = topic.source(start="latest")
    topic.send(message(1), message(2))
    assert ingest(lake_uri, source, topic.end(), connection="k").metrics["rows"] == 0
    topic.send(message(3))
    ingest(lake_uri, source, topic.end(), connection="k", run="r2")
    assert [row["n"] for row in rows(lake_uri)] == [3]


def test_columns_are_inferred_and_new_ones_added(topic, lake_uri):
    source = topic.source(columns=None, time="time", max_bad=100)
    with pytest.raises(StepError, match="TW522"):
        ingest(lake_uri, source, None, connection="k")
    topic.send({"n": 1, "time": "2013-01-01", "list": [1]}, partition=0)
    ingest(lake_uri, source, topic.end(), connection="k")
    topic.send({"n": 2, "gate": "A1"}, {"n": "x"}, {"n": None, "gate": "B2"}, partition=0)
    ingest(lake_uri, source, topic.end(), connection="k", run="r2")
    found = sorted(rows(lake_uri), key=lambda row: row["_position"])
    assert [(row["n"], row["gate"]) for row in found] == [(1, None), (2, "A1"), (None, "B2")]
    assert found[0]["time"] == datetime(2013, 1, 1, tzinfo=UTC)
    assert "'x'" in (reason := rows(lake_uri, "flights_quarantine")[0]["reason"]) or '"x"' in reason


def test_two_ingests_of_the_same_range_give_each_row_once(topic, lake_uri):
    topic.send(*(message(n) for n in range(3000)), b"broken", partition=0)
    running = [
        start(ingest_request(lake_uri, topic.source(), topic.end(), connection="k", run=f"r{n}", chunk=400), f"r{n}")
        for n in range(3)
    ]
    for process in running:
        assert process.wait(60) == 0, process.stderr.read().decode()
    assert sorted(row["n"] for row in rows(lake_uri)) == list(range(3000))
    assert len(rows(lake_uri, "flights_quarantine")) == 1


def test_kill_9_anywhere_and_a_retry_give_each_row_once(topic, lake_uri):
    """Killed at random, until an attempt ends: rows and quarantine together are the offsets, each once."""
    chance = random.Random(7)
    values = [message(n) if n % 50 else b"broken %d" % n for n in range(24_000)]
    topic.send(*values)
    source = topic.source(max_bad=0.1)
    request = ingest_request(lake_uri, source, topic.end(), connection="k", chunk=1500)
    began, table, kills = time.monotonic(), Lake(lake_uri).table("demo/flights_raw"), 0
    while True:
        process = start(request, "kill")
        committed = table.version() or 0
        until = time.monotonic() + 20
        while kills < 4 and process.poll() is None and (table.version() or 0) < committed + 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        if kills < 4 and process.poll() is None:
            time.sleep(chance.random() * 0.15)  # anywhere between two commits
            process.kill()
            process.wait()
            kills += 1
            continue
        assert process.wait(60) == 0, process.stderr.read().decode()
        break
    print(f"{kills} kills, {time.monotonic() - began:.1f} s")
    assert kills >= 3
    found = [(row["_source"], row["_position"]) for row in rows(lake_uri)]
    refused = [(row["source"], row["position"]) for row in rows(lake_uri, "flights_quarantine")]
    assert sorted(found + refused) == sorted((f"{topic.name}-{p}", n) for p in (0, 1) for n in range(12_000))
    assert len(refused) == 480
    assert sorted(row["n"] for row in rows(lake_uri)) == [n for n in range(24_000) if n % 50]


def test_a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing(tmp_path, lake_uri, monkeypatch):
    """kill -9 on the broker while a step reads from it: the step waits, and goes on where it was."""
    from tradewind.dev.running import start as serve
    from tradewind.dev.servers.kafka import Kafka

    server = Kafka.at(tmp_path / "kafka", heap_mb=256)
    first = serve(server)
    try:
        monkeypatch.setenv("AIRFLOW_CONN_K", f"kafka://{server.address}")
        topic = Topic(server.address, "killed")
        topic.send_many()
        request = ingest_request(lake_uri, topic.source(), topic.end(), connection="k", chunk=100)
        process, table = start(request, "broker"), Lake(lake_uri).table("demo/flights_raw")
        wait_for(lambda: process.poll() is not None or topic.committed(table) >= 300, 30)
        first.kill()
        assert topic.committed(table) + AHEAD // SIZE < MANY, "it needs the broker for the rest"
        assert process.poll() is None, "it is still reading"
        with serve(server):
            assert process.wait(100) == 0, process.stderr.read().decode()
        assert sorted(row["n"] for row in rows(lake_uri)) == list(range(MANY))
    finally:
        first.stop()


def test_a_topic_that_begins_with_what_nobody_can_read_is_judged_as_a_whole(topic, lake_uri):
    """Without columns, so that the first messages cannot say which there are."""
    topic.send(*(b"a test %d" % n for n in range(4_500)), partition=0)
    topic.send(*({"n": n} for n in range(9_000)), partition=0)
    result = ingest(lake_uri, topic.source(columns=None, max_bad=0.5), topic.end(), connection="k")
    assert result.metrics == result.metrics | {"rows": 9_000, "bad": 4_500}
    assert sorted(row["n"] for row in rows(lake_uri)) == list(range(9_000))


def test_what_a_killed_attempt_has_seen_by_other_columns_is_in_one_of_the_tables(topic, lake_uri):
    """Its quarantine is ahead, without a row that is refused only now."""
    topic.send({"n": 1, "c": "x"}, b"broken", partition=0)
    lake = Lake(lake_uri)
    refused = lake.table("demo/flights_quarantine")
    bad = quarantine.to_arrow([Bad(f"{topic.name}-0", 1, "not JSON", b"broken")], "ingest")
    refused.commit(
        refused.stage(bad.to_batches(), quarantine.SCHEMA), schema=quarantine.SCHEMA,
        positions={f"kafka:{topic.name}:0": Advance(None, 2), f"kafka:{topic.name}:1": Advance(None, 0)},
    )  # fmt: skip
    result = ingest(lake_uri, topic.source(columns={"n": "long", "c": "long"}, max_bad=10), topic.end(), connection="k")
    assert result.metrics == result.metrics | {"rows": 0, "bad": 2}
    assert sorted(row["position"] for row in rows(lake_uri, "flights_quarantine")) == [0, 1]
