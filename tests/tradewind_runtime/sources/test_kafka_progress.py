"""How many messages are asked for at once: no more than there are, and than fit into what is held."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from tests.tradewind_runtime.sources.test_kafka import Topic

from tradewind_runtime.contract.sources import KafkaSource, Source
from tradewind_runtime.lake import Lake
from tradewind_runtime.sources import Access, kafka_progress
from tradewind_runtime.sources.kafka_progress import Progress, batches
from tradewind_runtime.sources.kafka_rows import Rows


class Asked:
    """A consumer that notes how many messages it was asked for."""

    def __init__(self, consumer: Any) -> None:
        self.consumer, self.counts = consumer, list[int]()

    def consume(self, count: int, timeout: float) -> Any:
        self.counts.append(count)
        return self.consumer.consume(count, timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.consumer, name)


def progress(topic: str, end: dict[int, int]) -> Progress:
    found = Progress(KafkaSource(topic=topic), {p: str(p) for p in end}, 1_000, dict.fromkeys(end))
    for partition, last in end.items():
        found.begin(partition, last, (0, last))
    return found


class OfMarkersAlone:
    """A consumer of a topic whose offsets hold no messages."""

    position_now = 0

    def consume(self, count: int, timeout: float) -> list[Any]:
        del timeout
        self.position_now += min(count, 4)
        return []

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(one.topic, one.partition, self.position_now) for one in partitions]

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        assert len(partitions) == 1


class Unnamed(Message):
    """With a header whose name is not UTF-8, as the client's C code tells it."""

    def headers(self) -> Any:
        try:
            b"\xff".decode()
        except UnicodeDecodeError as error:
            msg = "<method 'headers' of 'cimpl.Message' objects> returned a result with an exception set"
            raise SystemError(msg) from error


class OfMessages(OfMarkersAlone):
    """A consumer that gives these."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)

    def consume(self, count: int, timeout: float) -> list[Any]:
        del timeout
        found, self.messages = self.messages[:count], self.messages[count:]
        self.position_now += len(found)
        return found


def test_a_header_whose_name_is_not_utf_8_has_its_message_refused_and_no_other() -> None:
    kept = {"topic": "t", "keep": {"headers": "headers"}}
    source = Source.model_validate({"kafka": kept, "columns": {"n": "long"}})
    whole = {"topic": "t", "partition": 0, "timestamp": (1, 1_357_275_600_000)}
    first = Message(value=b'{"n": 0}', offset=0, headers=[("a", b"\xff")], **whole)
    messages = first, Unnamed(value=b'{"n": 1}', offset=1, **whole), Message(value=b'{"n": 2}', offset=2, **whole)
    of_one = progress("t", {0: 3})
    of_one.kafka = source.kafka
    (batch,) = batches(OfMessages(*messages), of_one)
    made, refused = Rows.of(source, Access(lake=Lake("memory:///")), None).made(batch)
    rows = [(row["n"], row["headers"], row["_position"]) for row in made.to_pylist()]
    assert rows == [(0, '[["a", {"base64": "/w=="}]]', 0), (2, None, 2)]
    assert refused == {1: "a header's name is not UTF-8"}
    assert (batch.values[1], batch.headers[1]) == (b'{"n": 1}', None), "it goes to quarantine as it is, but for headers"


def test_no_more_than_is_left_is_asked_for() -> None:
    """The client waits until it has as many as it was asked for."""
    asked = Asked(OfMarkersAlone())
    assert list(batches(asked, progress("t", {0: 10}))) == []
    assert asked.counts == [10, 6, 2]


@pytest.mark.server
def test_as_many_are_taken_as_fit_into_what_is_held(kafka_broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_progress, "FIRST", 3)
    monkeypatch.setattr(kafka_progress, "BATCH_BYTES", 1_000)
    topic = Topic(kafka_broker, "fitting", 1)
    topic.send(*(b"x" * 100 for _ in range(20)), *(b"y" * 5_000 for _ in range(12)), partition=0)

    def read(end: int) -> tuple[int, list[int]]:
        consumer = Consumer({"bootstrap.servers": kafka_broker, "group.id": "x", "enable.auto.commit": False})
        consumer.assign([TopicPartition("fitting", 0, 0)])
        asked = Asked(consumer)
        taken = sum(len(batch.values) for batch in batches(asked, progress("fitting", {0: end})))
        consumer.close()
        return taken, asked.counts

    taken, counts = read(32)
    assert (taken, counts[-6:]) == (32, [3, 7, 10, 10, 1, 1]), "of the last, one alone is more than is held at once"
    taken, counts = read(16)
    assert (taken, counts[-3:]) == (16, [3, 7, 6]), "no more than are left"
