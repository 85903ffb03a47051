"""Messages of a real broker, written by Confluent's own serializers with a real Schema Registry."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from tests.servers.schema_registry import PASSWORD, USER, SchemaRegistry
from tests.tradewind_runtime.steprun import ingest, rows

from tradewind.plan.code import UserCode
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import CodeRef
from tradewind_runtime.contract.sources import KafkaSource, Source
from tradewind_runtime.documents import Documents
from tradewind_runtime.sources import Access, kafka
from tradewind_runtime.sources.messages.protobuf import Compiled

pytestmark = pytest.mark.server

FLIGHT = {
    "type": "record",
    "name": "Flight",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "carrier", "type": ["null", "string"], "default": None},
        {"name": "left", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
LATER = FLIGHT | {"fields": [*FLIGHT["fields"], {"name": "gate", "type": "string", "default": ""}]}
PROTO = """\
syntax = "proto3";
package air;
import "google/protobuf/timestamp.proto";
message Other { int32 a = 1; }
message Flight {
  int64 n = 1;
  optional string carrier = 2;
  google.protobuf.Timestamp left = 3;
}
"""
LEFT = datetime(2013, 1, 4, 5, tzinfo=UTC)


class Topic:
    """A topic of its own for each test, of one partition."""

    def __init__(self, broker: str, name: str) -> None:
        self.broker, self.name = broker, name
        admin = AdminClient({"bootstrap.servers": broker})
        admin.create_topics([NewTopic(name, 1, 1)])[name].result(20)
        self.connection = Connection("k", "kafka", "127.0.0.1", port=int(broker.rpartition(":")[2]))

    def source(self, format: str, columns: dict[str, str] | None = None, max_bad: int = 0, **more: object) -> Source:
        asked = {"topic": self.name, "connection": "k", "format": format} | more
        return Source(kafka=KafkaSource.model_validate(asked), columns=columns, max_bad=max_bad)

    def send(self, *values: bytes | None, **more: object) -> None:
        producer = Producer({"bootstrap.servers": self.broker})
        for value in values:
            producer.produce(self.name, value, **more)
        assert producer.flush(20) == 0

    def written(self) -> SerializationContext:
        return SerializationContext(self.name, MessageField.VALUE)

    def end(self, source: Source) -> dict[str, int]:
        return kafka.end_position(source, Access(lake=None, connection=self.connection))


@pytest.fixture
def topic(kafka_broker: str, monkeypatch: pytest.MonkeyPatch) -> Topic:
    monkeypatch.setenv("AIRFLOW_CONN_K", f"kafka://{kafka_broker}")
    return Topic(kafka_broker, f"messages-{time.time_ns()}")


@pytest.fixture
def registry(schema_registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch) -> SchemaRegistry:
    monkeypatch.setenv("AIRFLOW_CONN_SCHEMAS", schema_registry.connections()["schemas"])
    return schema_registry


@pytest.fixture
def client(registry: SchemaRegistry) -> SchemaRegistryClient:
    url = json.loads(registry.connections()["schemas"])["extra"]["uri"]
    limit = 20  # s; it has none of its own, and asks again after it
    return SchemaRegistryClient({"url": url, "basic.auth.user.info": f"{USER}:{PASSWORD}", "timeout": limit})


def avro(client: SchemaRegistryClient, topic: Topic, schema: dict) -> Callable[[dict], bytes]:
    write = AvroSerializer(client, json.dumps(schema))
    return lambda row: write(row, topic.written())


def flight(n: int, **more: object) -> dict:
    return {"n": n, "carrier": "UA", "left": LEFT} | more


def test_avro_of_two_schemas_is_one_table(topic, lake_uri, client):
    old, new = avro(client, topic, FLIGHT), avro(client, topic, LATER)
    topic.send(*(old(flight(n)) for n in range(5)), *(new(flight(n, carrier=None, gate="A1")) for n in range(5, 8)))
    source = topic.source("avro", registry="schemas")
    result = ingest(lake_uri, source, topic.end(source), connection="k")
    found = sorted(rows(lake_uri), key=lambda row: row["n"])
    assert result.metrics == result.metrics | {"rows": 8, "bad": 0}
    told = [(row["n"], row["carrier"], row["gate"], row["left"]) for row in found]
    assert told == [(n, "UA", None, LEFT) for n in range(5)] + [(n, None, "A1", LEFT) for n in range(5, 8)]


def test_avro_that_is_none_goes_to_quarantine(topic, lake_uri, client, registry):
    good = avro(client, topic, FLIGHT)(flight(1))
    text = registry.register(
        f"{topic.name}-json", '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}', "JSON"
    )
    bad = {
        b"{}": "does not begin with",
        None: "tombstone",
        good[:-1]: "not an Avro record",
        good + b"x": "1 bytes are left",
        b"\0" + (10**9).to_bytes(4, "big") + good[5:]: "no schema 1000000000",
        b"\0" + text.to_bytes(4, "big") + b"{}": "not of Avro but JSON",
    }
    topic.send(good, *bad, good)
    source = topic.source("avro", registry="schemas", max_bad=6)
    result = ingest(lake_uri, source, topic.end(source), connection="k")
    assert result.metrics == result.metrics | {"rows": 2, "bad": 6}
    refused = {row["content"]: row["reason"] for row in rows(lake_uri, "flights_quarantine")}
    for value, reason in bad.items():
        assert reason in refused[value], refused[value]


def test_a_registry_that_refuses_or_is_away_is_told_without_its_password(
    topic, lake_uri, client, registry, monkeypatch
):
    topic.send(avro(client, topic, FLIGHT)(flight(1)))
    source = topic.source("avro", registry="schemas")
    given = json.loads(registry.connections()["schemas"])
    away = given | {"extra": {"uri": "http://127.0.0.1:9/"}}
    for wrong in (given | {"password": "stolen"}, away):
        monkeypatch.setenv("AIRFLOW_CONN_SCHEMAS", json.dumps(wrong))
        with pytest.raises(StepError, match="TW528") as caught:
            ingest(lake_uri, source, topic.end(source), connection="k")
        assert caught.value.retryable
        assert wrong["extra"]["uri"] in str(caught.value)
        assert wrong["password"] not in str(caught.value)
    monkeypatch.setenv("AIRFLOW_CONN_SCHEMAS", json.dumps(given))
    ingest(lake_uri, source, topic.end(source), connection="k")
    assert len(rows(lake_uri)) == 1


def test_protobuf_by_a_registry_is_the_message_that_it_says(topic, lake_uri, client):
    kind = Compiled.of({"air.proto": PROTO}, "air.proto").named("Flight")
    write = ProtobufSerializer(kind, client)
    message = kind(n=3, carrier="UA")
    message.left.FromDatetime(LEFT)
    topic.send(write(message, topic.written()), write(kind(n=4), topic.written()), b"\0\0\0\0\1", b"\1")
    source = topic.source("protobuf", registry="schemas", max_bad=2)
    result = ingest(lake_uri, source, topic.end(source), connection="k")
    assert result.metrics == result.metrics | {"rows": 2, "bad": 2}
    told = [(row["n"], row["carrier"], row["left"]) for row in rows(lake_uri)]
    assert told == [(3, "UA", LEFT), (4, None, None)]


@pytest.mark.parametrize(
    ("format", "name", "text"),
    [("protobuf", "shared/air.proto", PROTO), ("avro", "flights.avsc", json.dumps(FLIGHT))],
)
def test_a_file_has_the_schema_of_all_messages(topic, lake_uri, format, name, text):
    kind = Compiled.of({"air.proto": PROTO}, "air.proto").named("Flight")
    contents = {"protobuf": kind(n=3).SerializeToString(), "avro": bytes([6, 0, 2])}
    topic.send(contents[format])
    more = {"message": "air.Flight"} if format == "protobuf" else {}
    source = topic.source(format, schema_file=name, **more)
    code = code_of(lake_uri, {f"include/schemas/{name}": text})
    ingest(lake_uri, source, topic.end(source), connection="k", code=code)
    assert [(row["n"], row["carrier"]) for row in rows(lake_uri)] == [(3, None)]


def code_of(lake: str, files: dict[str, str]) -> CodeRef:
    """User code that travels."""
    code = UserCode({path: text.encode() for path, text in files.items()})
    Documents(lake).create(f"code/{code.digest}.tar.gz", code.archive)
    return CodeRef(archive=code.digest, closure=code.digest)


def test_csv_and_raw_messages(topic, lake_uri):
    topic.send(b'1;"a;b"', b"NA;", b"x;y", b"1;2;3")
    source = topic.source("csv", {"n": "long", "text": "string"}, max_bad=2, delimiter=";")
    result = ingest(lake_uri, source, topic.end(source), connection="k")
    assert result.metrics == result.metrics | {"rows": 2, "bad": 2}
    assert [(row["n"], row["text"]) for row in rows(lake_uri)] == [(1, "a;b"), (None, None)]


def test_raw_messages_are_kept_as_they_are(topic, lake_uri):
    topic.send(b"\xff\0", b"", b"text")
    source = topic.source("raw")
    ingest(lake_uri, source, topic.end(source), connection="k")
    assert [row["value"] for row in rows(lake_uri)] == [b"\xff\0", b"", b"text"]


def test_parts_of_a_message_are_kept_as_columns(topic, lake_uri):
    topic.send(
        b'{"n": 1}', key=b"7", headers=[("a", b"x"), ("a", b"\xff"), ("none", None)], timestamp=1_357_275_600_000
    )
    topic.send(b'{"n": 2}', key=b"x")
    topic.send(b'{"n": 3}')
    keep = {"key": "flight", "headers": "headers", "timestamp": "sent", "partition": "part", "offset": "at"}
    source = topic.source("json", {"n": "long", "flight": "long"}, max_bad=1, keep=keep)
    result = ingest(lake_uri, source, topic.end(source), connection="k")
    assert result.metrics == result.metrics | {"rows": 2, "bad": 1}
    first, last = sorted(rows(lake_uri), key=lambda row: row["n"])
    assert first["flight"] == 7
    assert json.loads(first["headers"]) == [["a", "x"], ["a", {"base64": "/w=="}], ["none", None]]
    assert first["sent"] == LEFT
    assert (first["part"], first["at"], last["at"]) == (0, 0, 2)
    assert last["flight"] is None
    (refused,) = rows(lake_uri, "flights_quarantine")
    assert "column flight" in refused["reason"]


def test_a_decimal_of_avro_is_one(topic, lake_uri, client):
    price = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    schema = {"type": "record", "name": "Price", "fields": [{"name": "price", "type": price}]}
    topic.send(avro(client, topic, schema)({"price": Decimal("12.50")}))
    source = topic.source("avro", {"price": "double"}, registry="schemas")
    ingest(lake_uri, source, topic.end(source), connection="k")
    assert [row["price"] for row in rows(lake_uri)] == [12.5]
