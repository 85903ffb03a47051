"""Arrivals: a window's flights to Kafka, weather, planes and airports to S3. Done twice, nothing arrives twice.

A window's messages and its marker, in a topic beside, are one Kafka transaction: a run that is killed leaves
nothing that a reader sees, and the next one sees by the marker whether there is anything left to do.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import obstore
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from obstore.exceptions import NotFoundError
from obstore.store import S3Store, from_url

from tradewind.demo import flights
from tradewind_runtime.connections import Connection, store_options

TOPIC, BUCKET = "flights", "landing"
PARTITIONS = 2
Span = tuple[datetime, datetime]  # the second not included
WAIT = 60.0  # seconds that a broker may take


@dataclass(frozen=True)
class Counts:
    """What a window brought. `new` is False where it had arrived before; the counts are then those of that time."""

    flights: int
    late: int
    broken: int
    objects: int
    new: bool

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def arrive(
    name: str,
    start: datetime,
    end: datetime,
    *,
    kafka: str | Mapping[str, str],
    s3: Connection,
    topic: str = TOPIC,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Counts:
    """Let a window's data arrive, unless it has.

    Args:
        name: of the window; names its marker too.
        start: of the flights' scheduled departure.
        end: not included.
        kafka: the broker's address, or a client's settings.
        s3: Airflow's connection of the object store.
        topic: that the flights go to.
        on_progress: called with how many messages have been produced so far.
    """
    settings = _settings(kafka)
    objects = _land(s3, start, end)
    _topics(settings, topic)
    # Taking the id first ends a killed run's transaction: else a reader would wait for it.
    producer = _producer(settings, f"tradewind-demo-{topic}")
    known = _markers(settings, topic).get(name)
    if known is not None:
        return Counts(**known, objects=objects, new=False)
    counts = _produce(producer, topic, name, flights.messages(start, end), on_progress)
    return Counts(**counts, objects=objects, new=True)


@dataclass(frozen=True)
class Given:
    """What a source was given: rows, and what cannot be read."""

    rows: int
    broken: int = 0


def given_to(spans: Iterable[Span], *, kafka: str | Mapping[str, str], topic: str = TOPIC) -> dict[str, Given]:
    """What each source was given, by the producer's own books: its windows' markers, the files behind its objects.

    Nothing of it is asked of the lake, which is to be held against it.

    Args:
        spans: whose data has arrived.
        kafka: the broker's address, or a client's settings.
        topic: that the flights went to.
    """
    sent: Counter[str] = Counter()
    for counts in _markers(_settings(kafka), topic).values():
        sent.update(counts)
    landed: Counter[str] = Counter()
    for path, make in {path: make for span in spans for path, make in flights.objects(*span).items()}.items():
        if (content := make()) is not None:
            landed[path.partition("/")[0]] += flights.rows(path, content)
    objects = {source: Given(rows) for source, rows in landed.items()}
    return {"flights": Given(sent["flights"] + sent["late"], sent["broken"])} | objects


# Kafka ----------------------------------------------------------------------------------------------------------


def _settings(kafka: str | Mapping[str, str]) -> dict[str, str]:
    return {"bootstrap.servers": kafka} if isinstance(kafka, str) else dict(kafka)


def _topics(settings: Mapping[str, str], topic: str) -> None:
    admin = AdminClient(dict(settings))
    wanted = [NewTopic(topic, PARTITIONS, 1), NewTopic(f"{topic}.windows", 1, 1)]
    for future in admin.create_topics(wanted, operation_timeout=WAIT).values():
        try:
            future.result(WAIT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _producer(settings: Mapping[str, str], id: str) -> Producer:
    producer = Producer({
        **settings, "transactional.id": id, "transaction.timeout.ms": 300_000, "linger.ms": 20,
        "queue.buffering.max.messages": 500_000, "compression.type": "lz4",
    })  # fmt: skip
    producer.init_transactions(WAIT)
    return producer


def _produce(
    producer: Producer, topic: str, name: str, messages: Iterable[flights.Message], on_progress: Callable[[int], None]
) -> dict[str, int]:
    counts: Counter[str] = Counter(flights=0, late=0, broken=0)
    producer.begin_transaction()
    try:
        for number, message in enumerate(messages, 1):
            _put(producer, topic, message.key, message.content)
            counts[message.kind] += 1
            if number % 1000 == 0:
                on_progress(number)
        _put(producer, f"{topic}.windows", name, json.dumps(counts).encode())
        producer.commit_transaction(WAIT)
    except BaseException:
        producer.abort_transaction(WAIT)
        raise
    on_progress(sum(counts.values()))
    return dict(counts)


def _put(producer: Producer, topic: str, key: str, content: bytes) -> None:
    while True:
        try:
            producer.produce(topic, content, key=key)
        except BufferError:
            producer.poll(0.5)  # the queue is full: let some go out
            continue
        producer.poll(0)
        return


def _markers(settings: Mapping[str, str], topic: str) -> dict[str, dict[str, int]]:
    """What each window that has arrived brought when it did, by its name."""
    consumer = Consumer({
        **settings, "group.id": "tradewind-demo", "enable.auto.commit": False, "isolation.level": "read_committed",
        "enable.partition.eof": True, "auto.offset.reset": "earliest",
    })  # fmt: skip
    found: dict[str, dict[str, int]] = {}
    try:
        consumer.assign([TopicPartition(f"{topic}.windows", 0, 0)])
        while True:
            message = consumer.poll(WAIT)
            if message is None:
                msg = f"Kafka did not answer for {topic}.windows within {WAIT:.0f} s"
                raise TimeoutError(msg)
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's public name for it
                    return found
                raise KafkaException(error)
            found[(message.key() or b"").decode()] = json.loads(message.value() or b"{}")
    finally:
        consumer.close()


# S3 -------------------------------------------------------------------------------------------------------------


def _land(s3: Connection, start: datetime, end: datetime) -> int:
    """Objects that were not there yet."""
    _bucket(s3)
    store = from_url(f"s3://{BUCKET}", **store_options(s3))
    assert isinstance(store, S3Store)
    new = 0
    for path, content in flights.objects(start, end).items():
        if not _there(store, path) and (body := content()) is not None:
            obstore.put(store, path, body)
            new += 1
    return new


def _there(store: S3Store, path: str) -> bool:
    try:
        obstore.head(store, path)
    except (NotFoundError, FileNotFoundError):
        return False
    return True


def _bucket(s3: Connection) -> None:
    import boto3  # type: ignore[import-untyped]
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

    client = boto3.client(
        "s3", endpoint_url=s3.extra.get("endpoint_url"), region_name=s3.extra.get("region_name", "us-east-1"),
        aws_access_key_id=s3.login or None, aws_secret_access_key=s3.password or None,
    )  # fmt: skip
    try:
        client.head_bucket(Bucket=BUCKET)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        client.create_bucket(Bucket=BUCKET)
