"""A client of Kafka's, by Airflow's connection, that decides nothing by itself."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import KafkaSource

TIMEOUT = 30.0  # seconds for one answer of the broker

#: librdkafka tells these to a callback alone; to a call it says no more than that no broker answers.
_REFUSED = (KafkaError._AUTHENTICATION, KafkaError._SSL)  # noqa: SLF001
_UNHEARD_OF = (KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION)  # noqa: SLF001
_MOVING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)

log = logging.getLogger("tradewind")


@contextmanager
def consumer_of(kafka: KafkaSource, connection: Connection | None) -> Iterator[Consumer]:
    """A consumer with no group, no commits, and no jumps over what is gone.

    Raises:
        StepError: TW525 where there is no way to the broker, or it refuses.
    """
    settings = settings_of(kafka, connection)
    refused: list[tuple[float, KafkaError]] = []
    settings |= {
        "group.id": f"tradewind-{uuid.uuid4().hex}",  # librdkafka wants one; nothing is ever committed to it
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "isolation.level": kafka.isolation,
        "fetch.queue.backoff.ms": 5,
        "reconnect.backoff.max.ms": 2_000,
        "queued.max.messages.kbytes": 8_192,
        "fetch.max.bytes": 4_194_304,
        "log_level": 3,
        "error_cb": lambda error: refused.append((time.monotonic(), error)) if error.code() in _REFUSED else None,
    }
    try:
        consumer = Consumer(settings, logger=log)
    except KafkaException as error:
        raise StepError("TW525", f"Kafka's settings are refused: {error.args[0].str()}", retryable=False) from error
    try:
        yield consumer
    except KafkaException as error:
        with suppress(KafkaException, RuntimeError):
            consumer.poll(0)  # what it has to tell a callback
        if refused and time.monotonic() - refused[-1][0] < TIMEOUT:  # and not one that has mended itself since
            raise StepError(
                "TW525",
                f"Kafka refuses the connection: {refused[-1][1].str()}",
                retryable=False,
                got=settings["bootstrap.servers"],
                fix="mend its login, password, security.protocol or ssl.ca.location",
            ) from error
        raise StepError(
            "TW525",
            f"Kafka: {error.args[0].str()}",
            got=settings["bootstrap.servers"],
            fix="is the broker up, and the connection right?",
        ) from error
    finally:
        consumer.close()


def settings_of(kafka: KafkaSource, connection: Connection | None) -> dict[str, Any]:
    """What any client of the topic's broker is made with.

    Raises:
        StepError: TW525 where the connection names no broker.
    """
    settings = _settings(connection) if connection else {}
    if not settings.get("bootstrap.servers"):
        raise StepError(
            "TW525",
            f"the connection of topic {kafka.topic!r} names no broker",
            retryable=False,
            fix='give it a host and port, or {"bootstrap.servers": "host:port"} as extra',
        )
    return settings


def _settings(connection: Connection) -> dict[str, Any]:
    """Its extra holds librdkafka's own; login and password are those of SASL."""
    settings: dict[str, Any] = {key: value for key, value in connection.extra.items() if not key.endswith("_cb")}
    if connection.host:
        settings.setdefault("bootstrap.servers", f"{connection.host}:{connection.port or 9092}")
    if connection.login:
        settings = {
            "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN",
            "sasl.username": connection.login, "sasl.password": connection.password,
        } | settings  # fmt: skip
    return settings


def partitions(consumer: Consumer, kafka: KafkaSource) -> list[int]:
    """Of the topic.

    Raises:
        StepError: TW525 where there is no such topic.
    """
    topic = consumer.list_topics(kafka.topic, timeout=TIMEOUT).topics[kafka.topic]
    if topic.error is not None or not topic.partitions:
        raise StepError(
            "TW525",
            f"topic {kafka.topic!r} cannot be read",
            got=topic.error.str() if topic.error else "no partitions",
            fix="create the topic, or mend its name",
        )
    return sorted(topic.partitions)


def topic_id(kafka: KafkaSource, connection: Connection | None) -> int | None:
    """What tells the topic from another of its name, of 53 bits; None where its broker (before Kafka 2.8) does not."""
    admin = AdminClient(settings_of(kafka, connection))
    answers = admin.describe_topics(TopicCollection([kafka.topic]), request_timeout=TIMEOUT)
    try:
        found = answers[kafka.topic].result().topic_id
    except KafkaException as error:
        if error.args[0].code() in _UNHEARD_OF:
            return None
        raise
    return (found.get_most_significant_bits() ^ found.get_least_significant_bits()) & (2**53 - 1) or None


def _moving(error: BaseException) -> bool:
    """Whether a partition's leader is only just being chosen: of a new topic, or where a broker went."""
    return isinstance(error, KafkaException) and error.args[0].code() in _MOVING


@retry(retry=retry_if_exception(_moving), stop=stop_after_delay(TIMEOUT), wait=wait_fixed(0.2), reraise=True)
def watermarks(consumer: Consumer, kafka: KafkaSource, partition: int) -> tuple[int, int]:
    """The first offset that is kept, and the end: the last stable one where only what is committed is read."""
    low, high = consumer.get_watermark_offsets(TopicPartition(kafka.topic, partition), timeout=TIMEOUT, cached=False)
    return int(low), int(high)
