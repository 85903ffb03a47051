"""What is read: topics of messages with a fixed seed, of which some 200,000 are different."""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

COLUMNS = {
    "id": "long", "time": "timestamp", "carrier": "string", "delay": "double", "late": "boolean", "note": "string",
}  # fmt: skip
SCHEMA = {
    "type": "record", "name": "Flight",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "carrier", "type": "string"},
        {"name": "delay", "type": "double"},
        {"name": "late", "type": "boolean"},
        {"name": "note", "type": "string"},
    ],
}  # fmt: skip
DIFFERENT = 200_000


@dataclass(frozen=True)
class Case:
    """A topic of its own."""

    name: str
    kind: str  # the format
    size: int  # about so many bytes a message
    partitions: int = 1
    share: float = 1.0  # of the messages that are asked for


CASES = {
    case.name: case
    for case in (
        Case("json200", "json", 200),
        Case("json200x8", "json", 200, 8),
        Case("json2k", "json", 2000, share=0.2),
        Case("avro200", "avro", 200),
        Case("raw200", "raw", 200),
        Case("raw2k", "raw", 2000, share=0.2),
        Case("json200x2", "json", 200, 2),  # read by two processes
        Case("growing", "json", 200),  # read up to several ends
    )
}


def messages(kind: str, size: int) -> Iterator[bytes]:
    """All different ones."""
    import fastavro

    rng, parsed = random.Random(0), fastavro.parse_schema(SCHEMA)
    note = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz ", k=size))
    for number in range(DIFFERENT):
        row = {
            "id": number, "time": 1_357_000_000_000_000 + number * 1_000_000, "carrier": rng.choice(["UA", "AA", "DL"]),
            "delay": round(rng.gauss(5, 30), 1), "late": rng.random() < 0.3,
        }  # fmt: skip
        if kind == "avro":
            buffer = io.BytesIO()
            fastavro.schemaless_writer(buffer, parsed, row | {"note": note[: size - 25]})
            yield buffer.getvalue()
            continue
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row["time"] // 1_000_000))
        body = row | {"time": moment, "note": ""}
        yield json.dumps(body | {"note": note[: max(0, size - len(json.dumps(body)))]}).encode()


def fill(broker: str, case: Case, count: int) -> None:
    """Its topic, with the messages spread evenly."""
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(case.name, case.partitions, 1)])[case.name].result(30)
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 50, "queue.buffering.max.messages": 500_000})
    for number, content in enumerate(islice(cycle(list(messages(case.kind, case.size))), count)):
        while True:
            try:
                producer.produce(case.name, content, partition=number % case.partitions)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 10_000 == 0:
            producer.poll(0)
    assert producer.flush(300) == 0
