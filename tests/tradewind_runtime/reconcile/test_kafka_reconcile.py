"""The lake against a live broker: what is lost, what nobody sent, and what is only still to come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pyarrow as pa
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from tests.tradewind_runtime.steprun import ingest, wait_for

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.reconcile import Asked, ask
from tradewind_runtime.replacing import Replace
from tradewind_runtime.retention import expire
from tradewind_runtime.sources import Access, kafka
from tradewind_runtime.sources.columns import PROVENANCE
from tradewind_runtime.staging import Staged
from tradewind_runtime.verify import Verified, verify_table

pytestmark = pytest.mark.server
RAW = "demo/flights_raw"
STAMPS = pa.schema([("n", pa.int64()), *PROVENANCE])
BEGAN = datetime.now(UTC) - timedelta(hours=10)


class Topic:
    """One of its own for each test, and a lake for what it gives."""

    def __init__(self, broker: str, lake: str, **settings: str) -> None:
        self.broker, self.lake, self.name, self.runs = broker, Lake(lake), f"reconcile-{time.time_ns()}", 0
        self.admin = AdminClient({"bootstrap.servers": broker})
        self.admin.create_topics([NewTopic(self.name, 2, 1, config=settings)])[self.name].result(20)
        self.access = Access(self.lake, connection=Connection.parse("k", f"kafka://{broker}"))

    def source(self, **more: str) -> Source:
        return Source.model_validate(
            {"kafka": {"topic": self.name, "connection": "k", **more}, "columns": {"n": "long"}, "max_bad": 100}
        )

    def send(self, numbers: range, transaction: str | None = None, *, keep: bool = True) -> None:
        producer = Producer(
            {"bootstrap.servers": self.broker} | ({"transactional.id": transaction} if transaction else {})
        )
        if transaction:
            producer.init_transactions(20)
            producer.begin_transaction()
        for n in numbers:
            producer.produce(self.name, json.dumps({"n": n}), key=str(n % 3), partition=n % 2)
        assert producer.flush(20) == 0
        if transaction:
            producer.commit_transaction(20) if keep else producer.abort_transaction(20)
            wait_for(lambda: self.end() == self.end(isolation="read_uncommitted"), 30)  # its markers come later

    def ingest(self, **more: str) -> None:
        self.runs += 1
        ingest(self.lake.root, self.source(**more), self.end(**more), connection="k", run=f"r{self.runs}")

    def end(self, **more: str) -> dict[str, int]:
        return kafka.end_position(self.source(**more), self.access)

    def verified(self, **more: str) -> list[Verified]:
        return verify_table(self.lake, RAW, partial(ask, self.source(**more), self.access))


@pytest.fixture
def topic(kafka_broker: str, lake_uri: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Topic]:
    monkeypatch.setenv("AIRFLOW_CONN_K", f"kafka://{kafka_broker}")
    return lambda **settings: Topic(kafka_broker, lake_uri, **settings)


def told(lines: list[Verified]) -> list[tuple[int | None, ...]]:
    return [(one.lost, one.unknown, one.unread, one.ok) for one in lines]


def test_markers_of_transactions_and_aborted_messages_are_no_loss(topic: Callable[..., Topic]) -> None:
    flights = topic()
    flights.send(range(10))
    flights.send(range(10, 20), "a", keep=False)
    flights.send(range(20, 26), "b")
    flights.ingest()
    assert told(flights.verified()) == [(0, 0, 0, True)] * 2
    first = flights.verified()[0]
    assert (first.rows, first.committed, first.gaps) == (8, 15, 7), "five were aborted, and two markers"


def test_what_is_still_to_come_is_counted(topic: Callable[..., Topic]) -> None:
    flights = topic()
    flights.send(range(4))
    assert told(flights.verified()) == [(0, 0, 2, True)] * 2, "nothing has been read"
    flights.ingest()
    flights.send(range(4, 10))
    assert told(flights.verified()) == [(0, 0, 3, True)] * 2


def test_a_row_that_is_lost_and_one_that_nobody_sent(topic: Callable[..., Topic]) -> None:
    flights = topic()
    flights.send(range(10))
    flights.send(range(10, 20), "c", keep=False)
    flights.send(range(20, 22))
    flights.ingest()
    table = flights.lake.table(RAW)
    snapshot = table.snapshot()
    rows = snapshot.to_arrow()
    table.commit([], schema=snapshot.schema, replace=Replace("n", 4, 5))  # offset 2 of the first
    lost, fine = flights.verified()
    assert (lost.lost, lost.unknown, lost.examples, lost.ok) == (1, 0, (2,), False)
    assert fine.ok
    # What is gone of the topic cannot be held against the table.
    flights.admin.delete_records([TopicPartition(flights.name, 0, 4)])[TopicPartition(flights.name, 0)].result(20)
    assert flights.verified()[0].ok
    position = rows.schema.get_field_index("_position")
    aborted = rows.slice(0, 1).set_column(position, "_position", [[7]]).cast(snapshot.schema)
    table.commit(table.stage(aborted.to_batches(), snapshot.schema), schema=snapshot.schema)
    assert sorted((one.unknown, one.examples, one.ok) for one in flights.verified()) == [
        (0, (), True),
        (1, (7,), False),
    ]


def test_a_refused_message_is_not_lost(topic: Callable[..., Topic]) -> None:
    flights = topic()
    producer = Producer({"bootstrap.servers": flights.broker})
    for value in (b'{"n": 1}', b"broken", None):
        producer.produce(flights.name, value, key="k", partition=0)
    assert producer.flush(20) == 0
    flights.ingest()
    assert told(flights.verified()) == [(0, 0, 0, True)] * 2
    assert flights.verified()[0].quarantined == 2


def test_reading_that_began_at_the_end_does_not_miss_what_was_before(topic: Callable[..., Topic]) -> None:
    flights = topic()
    flights.send(range(10))
    flights.ingest(start="latest")
    assert told(flights.verified(start="latest")) == [(0, 0, 0, True)] * 2
    flights.send(range(10, 14))
    flights.ingest(start="latest")
    assert [one.rows for one in flights.verified(start="latest")] == [2, 2]
    assert told(flights.verified(start="latest")) == [(0, 0, 0, True)] * 2
    assert [one.lost for one in flights.verified()] == [5, 5], "had it been asked to begin at the beginning"


def test_what_was_compacted_away_is_no_row_that_nobody_sent(topic: Callable[..., Topic]) -> None:
    flights = topic(**{
        "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100",
        "max.compaction.lag.ms": "200", "delete.retention.ms": "100",
    })  # fmt: skip
    flights.send(range(30))
    flights.ingest()
    time.sleep(0.3)
    flights.send(range(30, 34))  # closes the segment
    until = time.monotonic() + 60
    while flights.verified()[0].rows <= _given(flights):
        assert time.monotonic() < until, "the broker compacts it"
        time.sleep(0.5)
    assert all(one.ok and one.unknown is None for one in flights.verified())


def _given(flights: Topic) -> int:
    table = flights.lake.table(RAW)
    asked = next(ask(flights.source(), flights.access, table, table.version()))
    return len(asked.given)


@pytest.mark.parametrize("count", [2, 14], ids=["shorter", "longer"])
def test_a_topic_that_was_made_again_does_not_hold_the_rows(topic: Callable[..., Topic], count: int) -> None:
    flights = topic()
    flights.send(range(10))
    flights.ingest()
    flights.admin.delete_topics([flights.name])[flights.name].result(20)
    time.sleep(1)
    flights.admin.create_topics([NewTopic(flights.name, 2, 1)])[flights.name].result(20)
    flights.send(range(count))
    assert told(flights.verified()) == [(0, 5, count // 2, False)] * 2


def test_one_partition_that_says_it_is_enough(topic: Callable[..., Topic]) -> None:
    """The others have not moved since tables say it."""
    flights = topic()
    flights.send(range(10))
    flights.ingest()
    known = flights.lake.table(RAW).position(f"kafka:{flights.name}:0@topic")
    flights.admin.delete_topics([flights.name])[flights.name].result(20)
    time.sleep(1)
    flights.admin.create_topics([NewTopic(flights.name, 2, 1)])[flights.name].result(20)
    flights.send(range(10))
    table = flights.lake.table(RAW)
    rows = table.snapshot()
    other = Lake(f"{flights.lake.root}-other").table(RAW)
    moves = {f"kafka:{flights.name}:{p}": Advance(None, 5) for p in (0, 1)}
    staged = other.stage(rows.to_arrow().to_batches(), rows.schema)
    other.commit(staged, schema=rows.schema, positions=moves | {f"kafka:{flights.name}:0@topic": Advance(None, known)})
    found = list(ask(flights.source(), flights.access, other, other.version()))
    assert [(one.given.tolist(), one.unread) for one in found] == [([], 5)] * 2


def test_what_is_committed_while_the_topic_is_asked_is_not_judged(
    topic: Callable[..., Topic], monkeypatch: pytest.MonkeyPatch
) -> None:
    flights = topic()
    flights.send(range(10))
    flights.ingest()
    flights.send(range(10, 14))

    def asking(table: Table, version: int | None) -> list[Asked]:
        found = list(ask(flights.source(), flights.access, table, version))
        flights.ingest()
        return found

    lines = verify_table(flights.lake, RAW, asking)
    assert [(one.rows, one.unread, one.unknown, one.ok) for one in lines] == [(5, 2, 0, True)] * 2


def test_a_partition_that_was_added_is_compared_from_its_beginning(topic: Callable[..., Topic]) -> None:
    flights = topic()
    flights.send(range(10))
    flights.ingest(start="latest")
    flights.admin.create_partitions([NewPartitions(flights.name, 3)])[flights.name].result(20)
    producer = Producer({"bootstrap.servers": flights.broker})
    for n in range(100, 105):
        producer.produce(flights.name, json.dumps({"n": n}), partition=2)
    assert producer.flush(20) == 0
    flights.ingest(start="latest")
    assert [(one.rows, one.ok) for one in flights.verified(start="latest")] == [(0, True), (0, True), (5, True)]
    table = flights.lake.table(RAW)
    table.commit([], schema=table.snapshot().schema, replace=Replace("n", 100, 101))
    assert flights.verified(start="latest")[2].lost == 1


def test_what_retention_has_taken_away_is_no_loss(topic: Callable[..., Topic]) -> None:
    flights = topic()
    flights.send(range(10))
    flights.ingest()
    flights.send(range(10, 20))
    flights.ingest()
    flights.send(range(20, 24))
    flights.ingest()
    table = flights.lake.table(RAW)
    rows = table.snapshot().to_arrow().to_pylist()
    expire(table, "_ingested", min(row["_ingested"] for row in rows if row["n"] >= 10))
    assert [(one.rows, one.lost, one.expired, one.ok) for one in flights.verified()] == [(7, 0, 5, True)] * 2
    # By the time of the messages: those that are left say it themselves.
    cut = max(row["_timestamp"] for row in rows) + timedelta(milliseconds=1)
    table.commit([], schema=table.snapshot().schema, replace=Replace("n", 23, 24))
    assert flights.verified()[1].lost == 1
    expire(table, "_timestamp", cut)
    assert [(one.rows, one.lost, one.expired, one.ok) for one in flights.verified()] == [(0, 0, 12, True)] * 2


class Stamped:
    """A table of the first partition whose rows say themselves when they were ingested, in hours since `BEGAN`."""

    def __init__(self, flights: Topic) -> None:
        self.flights, self.table, self.end = flights, flights.lake.table(RAW), 0

    def commit(self, hours: dict[int, float], end: int) -> None:
        moves = {f"kafka:{self.flights.name}:0": Advance(self.end or None, end)}
        self.table.commit(self._staged(hours), schema=STAMPS, positions=moves)
        self.end = end

    def put_back(self, offset: int, hour: float) -> None:
        """As `replay` does: no position of the topic moves."""
        self.table.commit(self._staged({offset: hour}), schema=STAMPS)

    def lose(self, offset: int) -> None:
        self.table.commit([], schema=STAMPS, replace=Replace("_position", offset, offset + 1))

    def expire(self, hour: float) -> int:
        return expire(self.table, "_ingested", BEGAN + timedelta(hours=hour)).rows

    def told(self) -> tuple[int, int | None, int | None, tuple[int, ...], bool]:
        one = self.flights.verified()[0]
        return one.rows, one.lost, one.expired, one.examples, one.ok

    def _staged(self, hours: dict[int, float]) -> list[Staged]:
        place = f"{self.flights.name}-0"
        rows = [
            {"n": at, "_source": place, "_position": at, "_ingested": BEGAN + timedelta(hours=hour)}
            for at, hour in hours.items()
        ]
        return self.table.stage(pa.Table.from_pylist(rows, STAMPS).to_batches(), STAMPS)


@pytest.fixture
def stamped(topic: Callable[..., Topic]) -> Stamped:
    flights = topic()
    flights.send(range(40))  # of which the first partition has a half
    return Stamped(flights)


def test_a_commit_whose_later_offsets_were_ingested_earlier(stamped: Stamped) -> None:
    """Spark reads a partition in ranges, by several tasks."""
    stamped.commit({at: 2 if at < 5 else 1 for at in range(10)}, 10)
    stamped.commit(dict.fromkeys(range(10, 20), 3), 20)
    assert stamped.expire(1.5) == 5
    assert stamped.told() == (15, 0, 5, (), True)
    stamped.lose(12)
    assert stamped.told() == (14, 1, 5, (12,), False), "the next commit is all of after the cut"


def test_a_replayed_message_within_the_commit_that_was_cut(stamped: Stamped) -> None:
    """It is younger than those after it."""
    stamped.commit({at: at / 10 for at in range(10) if at != 3}, 10)
    stamped.commit(dict.fromkeys(range(10, 20), 3), 20)
    stamped.put_back(3, 4)
    assert stamped.expire(0.65) == 6
    assert stamped.told() == (14, 0, 6, (), True)
    stamped.lose(19)
    assert stamped.told() == (13, 1, 6, (19,), False)


def test_what_a_commit_of_after_the_cut_has_lost_is_told(stamped: Stamped) -> None:
    stamped.commit(dict.fromkeys(range(5), 1), 5)
    time.sleep(0.02)
    cut = datetime.now(UTC)
    time.sleep(0.02)
    stamped.commit({5: 20, 6: 1, 7: 20, 8: 1, 9: 1}, 10)
    stamped.commit(dict.fromkeys(range(10, 15), 20), 15)
    stamped.commit(dict.fromkeys(range(15, 20), 20), 20)
    assert expire(stamped.table, "_ingested", cut).rows == 8
    assert stamped.told() == (12, 0, 8, (), True)
    stamped.lose(12)
    stamped.lose(15)
    assert stamped.told() == (10, 2, 8, (12, 15), False)
    stamped.lose(7)
    assert stamped.told() == (9, 2, 9, (12, 15), False), "of the commit that was cut nobody knows which went"


def test_a_strict_policy_for_new_columns_is_for_runs_and_stops_no_verification(topic: Callable[..., Topic]) -> None:
    flights = topic()
    producer = Producer({"bootstrap.servers": flights.broker})
    for n in range(6):
        producer.produce(flights.name, json.dumps({"n": n, "more": "a"}), partition=0)
    producer.flush(20)
    flights.ingest()
    table = flights.lake.table(RAW)
    expire(table, "_timestamp", datetime.now(UTC) + timedelta(minutes=1))
    strict = flights.source().model_copy(update={"new_columns": "strict"})
    found = verify_table(flights.lake, RAW, partial(ask, strict, flights.access))[0]
    assert (found.rows, found.expired, found.lost, found.ok) == (0, 6, 0, True)


def test_refused_messages_that_their_quarantine_keeps_no_longer(topic: Callable[..., Topic]) -> None:
    flights = topic()
    producer = Producer({"bootstrap.servers": flights.broker})
    for n in range(6):
        producer.produce(flights.name, "broken" if n < 3 else json.dumps({"n": n}), partition=0)
    producer.flush(20)
    flights.ingest()
    assert flights.verified()[0].quarantined == 3
    expire(flights.lake.table(RAW.replace("_raw", "_quarantine")), "ingested", datetime.now(UTC))
    found = flights.verified()[0]
    assert (found.rows, found.quarantined, found.lost, found.expired, found.ok) == (3, 0, 0, 3, True)
