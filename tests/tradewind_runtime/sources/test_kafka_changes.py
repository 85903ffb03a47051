"""Kafka, real: what may become of a topic and of the way to it between two runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from tests.servers.secured_kafka import PASSWORD, SecuredKafka
from tests.tradewind_runtime.steprun import ingest, rows, wait_for

from tradewind.dev.running import start
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake
from tradewind_runtime.sources import Access, kafka, kafka_client
from tradewind_runtime.sources.columns import PROVENANCE
from tradewind_runtime.sources.kafka_rows import Rows

pytestmark = pytest.mark.server
NAME = "flights"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """One of these tests' own."""
    with start(SecuredKafka.at(tmp_path_factory.mktemp("kafka"), heap_mb=256)) as running:
        yield running.server


@pytest.fixture
def topic(broker: SecuredKafka, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of one partition, with ten messages."""
    monkeypatch.setenv("AIRFLOW_CONN_K", f"kafka://{broker.address}")
    name = f"flights-{time.time_ns()}"
    made(broker, name)
    sent(broker, name, range(10))
    return name


def made(broker: SecuredKafka, name: str, **settings: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.create_topics([NewTopic(name, 1, 1, config=settings)])[name].result(20)


def sent(broker: SecuredKafka, name: str, numbers: range, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": broker.address})
    for n in numbers:
        producer.produce(name, f'{{"n": {n}}}', partition=partition)
    assert producer.flush(20) == 0


def source(name: str) -> Source:
    return Source.model_validate({"kafka": {"topic": name, "connection": "k"}, "columns": {"n": "long"}})


def end(broker: SecuredKafka, name: str, text: str | None = None) -> dict[str, int]:
    given = Connection.parse("k", text or f"kafka://{broker.address}")
    return kafka.end_position(source(name), Access(lake=None, connection=given))


def taken_in(broker: SecuredKafka, lake: str, name: str) -> list[int]:
    """The table's numbers after a run."""
    ingest(lake, source(name), end(broker, name), connection="k", run=str(time.time_ns()))
    return sorted(row["n"] for row in rows(lake))


def test_partitions_that_are_added_are_read_from_their_beginning(
    broker: SecuredKafka, topic: str, lake_uri: str
) -> None:
    assert taken_in(broker, lake_uri, topic) == list(range(10))
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(20)
    sent(broker, topic, range(10, 15), partition=2)
    sent(broker, topic, range(15, 17))
    assert taken_in(broker, lake_uri, topic) == list(range(17))


def made_again(broker: SecuredKafka, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.delete_topics([name])[name].result(20)
    wait_for(lambda: name not in admin.list_topics(timeout=5).topics, 20)
    made(broker, name)


def deleted(broker: SecuredKafka, name: str, before: int, partition: int = 0) -> None:
    """As retention does it."""
    admin, at = AdminClient({"bootstrap.servers": broker.address}), TopicPartition(name, partition, before)
    admin.delete_records([at])[at].result(20)


@pytest.mark.parametrize("count", [3, 10, 25], ids=["shorter", "as long", "longer"])
def test_a_topic_that_was_made_again_is_told_and_nothing_is_taken_in(
    broker: SecuredKafka, topic: str, lake_uri: str, count: int
) -> None:
    taken_in(broker, lake_uri, topic)
    made_again(broker, topic)
    sent(broker, topic, range(100, 100 + count))
    with pytest.raises(StepError, match=r"TW524: topic .* was made again") as told:
        taken_in(broker, lake_uri, topic)
    assert not told.value.retryable
    assert sorted(row["n"] for row in rows(lake_uri)) == list(range(10))


def test_a_table_that_does_not_say_which_topic_it_is_of_says_it_from_its_next_commit_on(
    broker: SecuredKafka, topic: str, lake_uri: str
) -> None:
    schema = pa.schema([("n", pa.int64()), *PROVENANCE])
    Lake(lake_uri).table("demo/flights_raw").commit([], schema=schema, positions={f"kafka:{topic}:0": Advance(None, 4)})
    assert taken_in(broker, lake_uri, topic) == list(range(4, 10))
    made_again(broker, topic)
    sent(broker, topic, range(20))
    with pytest.raises(StepError, match="was made again"):
        taken_in(broker, lake_uri, topic)


def test_a_broker_that_does_not_tell_topics_apart_is_told_by_a_shorter_one(
    broker: SecuredKafka, topic: str, lake_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One before Kafka 2.8."""
    monkeypatch.setattr(kafka, "topic_id", lambda *_: None)
    taken_in(broker, lake_uri, topic)
    made_again(broker, topic)
    sent(broker, topic, range(3))
    with pytest.raises(StepError, match=r"TW524(.|\n)*ends at 3"):
        taken_in(broker, lake_uri, topic)


def test_the_quarantine_says_nothing_of_which_topic_it_is(broker: SecuredKafka, topic: str, lake_uri: str) -> None:
    """Its positions are how far it has been told, and no more."""
    taken_in(broker, lake_uri, topic)
    raw, refused = (Lake(lake_uri).table(f"demo/flights_{name}") for name in ("raw", "quarantine"))
    here, ids = [f"kafka:{topic}:0", f"kafka:{topic}:0@topic"], {None}
    assert set(raw.positions(here).values()).isdisjoint(ids)
    assert refused.positions(here) == {here[0]: 10, here[1]: None}


def test_what_retention_took_of_a_partition_that_was_added_is_told(
    broker: SecuredKafka, topic: str, lake_uri: str
) -> None:
    taken_in(broker, lake_uri, topic)
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.create_partitions([NewPartitions(topic, 2)])[topic].result(20)
    sent(broker, topic, range(10, 15), partition=1)
    deleted(broker, topic, 3, partition=1)
    with pytest.raises(StepError, match=r"TW524: 3 offsets of partition 1 .* are gone unread"):
        taken_in(broker, lake_uri, topic)


def test_what_retention_takes_while_it_is_read_is_told(broker: SecuredKafka, topic: str, lake_uri: str) -> None:
    """Between the look at what is there and the first fetch."""
    given, table = Connection.parse("k", f"kafka://{broker.address}"), Lake(lake_uri).table("demo/flights_raw")
    access, asked = Access(lake=None, connection=given), source(topic)
    with kafka_client.consumer_of(kafka.kafka_of(asked), given) as consumer:
        progress = kafka.begun(consumer, asked, access, end(broker, topic), table)
        deleted(broker, topic, 7)
        chunks = kafka.chunks(consumer, progress, Rows.of(asked, access, None))
        with pytest.raises(StepError, match=r"TW524: 7 offsets of partition 0 .* were deleted while") as told:
            list(next(chunks).rows)
    assert "offset 0" in str(told.value)


def test_a_compacted_topic_is_read_over_its_gaps(broker: SecuredKafka, topic: str, lake_uri: str) -> None:
    name = f"{topic}-compacted"
    made(broker, name, **{
        "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100",
        "max.compaction.lag.ms": "200", "delete.retention.ms": "100",
    })  # fmt: skip
    producer = Producer({"bootstrap.servers": broker.address})
    for n in range(30):
        producer.produce(name, f'{{"n": {n}}}', key=str(n % 3))
    assert producer.flush(20) == 0
    time.sleep(0.3)
    producer.produce(name, '{"n": 30}', key="last")  # closes the segment
    assert producer.flush(20) == 0
    wait_for(lambda: len(seen(broker, name)) < 31, 120)
    left = seen(broker, name)
    assert taken_in(broker, lake_uri, name) == left
    assert Lake(lake_uri).table("demo/flights_raw").position(f"kafka:{name}:0") == 31
    assert taken_in(broker, lake_uri, name) == left, "and nothing is lost where nothing is new"


def seen(broker: SecuredKafka, name: str) -> list[int]:
    """What another client is given."""
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "see", "enable.partition.eof": True})
    consumer.assign([TopicPartition(name, 0, 0)])
    found: list[int] = []
    while (message := consumer.poll(20)) is not None and message.error() is None:
        found.append(json.loads(message.value())["n"])
    consumer.close()
    return sorted(found)


def test_a_broker_with_a_password_and_a_certificate_is_read(
    broker: SecuredKafka, topic: str, lake_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_K", broker.secured())
    ingest(lake_uri, source(topic), end(broker, topic, broker.secured()), connection="k")
    assert sorted(row["n"] for row in rows(lake_uri)) == list(range(10))


@pytest.mark.parametrize(
    ("more", "why"),
    [({"password": "stolen"}, "[Aa]uthentication failed"), ({"extra": {}}, "certificate verify failed")],
    ids=["password", "certificate"],
)
def test_what_is_refused_is_told_at_once_and_without_the_password(
    broker: SecuredKafka, topic: str, more: dict, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_client, "TIMEOUT", 5.0)
    with pytest.raises(StepError, match=rf"TW525(.|\n)*refuses the connection(.|\n)*{why}") as caught:
        end(broker, topic, broker.secured(**more))
    assert not caught.value.retryable
    assert PASSWORD not in str(caught.value)
    assert "stolen" not in str(caught.value)


def test_a_topic_that_is_not_there_is_told(broker: SecuredKafka) -> None:
    with pytest.raises(StepError, match=r"TW525(.|\n)*topic 'absent' cannot be read"):
        end(broker, "absent")


def test_a_topic_without_a_message_gives_a_table_without_a_row(broker: SecuredKafka, lake_uri: str, topic: str) -> None:
    empty = f"{topic}-empty"
    made(broker, empty)
    assert taken_in(broker, lake_uri, empty) == []


def test_a_source_without_columns_and_without_a_message_is_told(
    broker: SecuredKafka, lake_uri: str, topic: str
) -> None:
    empty = f"{topic}-empty"
    made(broker, empty)
    unnamed = source(empty).model_copy(update={"columns": None})
    with pytest.raises(StepError, match="TW522"):
        ingest(lake_uri, unnamed, end(broker, empty), connection="k")
