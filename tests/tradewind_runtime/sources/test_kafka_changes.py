"""Kafka, real: what may become of a topic and of the way to it between two runs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from tests.servers.secured_kafka import PASSWORD, SecuredKafka
from tests.tradewind_runtime.steprun import ingest, rows

from tradewind.dev.running import start
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources import Access, kafka, kafka_client

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


def made(broker: SecuredKafka, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(20)


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


def test_a_topic_that_was_made_again_is_told_and_nothing_is_taken_in(
    broker: SecuredKafka, topic: str, lake_uri: str
) -> None:
    taken_in(broker, lake_uri, topic)
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.delete_topics([topic])[topic].result(20)
    until = time.monotonic() + 20
    while topic in admin.list_topics(timeout=5).topics:
        assert time.monotonic() < until
        time.sleep(0.1)
    made(broker, topic)
    sent(broker, topic, range(100, 103))
    with pytest.raises(StepError, match=r"TW524(.|\n)*ends at 3"):
        taken_in(broker, lake_uri, topic)
    assert sorted(row["n"] for row in rows(lake_uri)) == list(range(10))


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
