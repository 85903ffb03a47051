"""Kafka to table, beside bare consumption by the same client and Spark's own Kafka source to Parquet, in one run.

`python -m bench.ingest [--messages 1000000] [--repeat 3] [--only json200,raw200]`. Each figure is of a process of its
own; results go to bench/results/ingest.json. Messages are made once, by one producer, with a fixed seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.results import write

GOALS = {"typed": 0.3, "raw": 0.5, "spark": 2.0, "memory_mib": 350}
#: Name → format, bytes of a message, partitions, share of the messages that are asked for.
CASES = {
    "json200": ("json", 200, 1, 1.0),
    "json200x8": ("json", 200, 8, 1.0),
    "json2k": ("json", 2000, 1, 0.2),
    "avro200": ("avro", 200, 1, 1.0),
    "raw200": ("raw", 200, 1, 1.0),
    "raw2k": ("raw", 2000, 1, 0.2),
}
COLUMNS = {
    "id": "long",
    "time": "timestamp",
    "carrier": "string",
    "delay": "double",
    "late": "boolean",
    "note": "string",
}
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
BATCH, TIMEOUT = 10_000, 30.0


def messages(kind: str, size: int, count: int) -> Iterator[bytes]:
    """Of about that many bytes each."""
    import io

    import fastavro

    rng, parsed = random.Random(0), fastavro.parse_schema(SCHEMA)
    note = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz ", k=size))
    for number in range(count):
        row = {
            "id": number, "time": 1_357_000_000_000_000 + number * 1_000_000, "carrier": rng.choice(["UA", "AA", "DL"]),
            "delay": round(rng.gauss(5, 30), 1), "late": rng.random() < 0.3,
        }  # fmt: skip
        if kind == "avro":
            buffer = io.BytesIO()
            fastavro.schemaless_writer(buffer, parsed, row | {"note": note[: size - 25]})
            yield buffer.getvalue()
        else:
            body = row | {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row["time"] // 1_000_000)),
                "note": "",
            }
            text = json.dumps(body)
            yield json.dumps(body | {"note": note[: max(0, size - len(text))]}).encode()


def fill(broker: str, case: str, count: int) -> None:
    """The case's topic, with its messages spread evenly."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    kind, size, partitions, _ = CASES[case]
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(case, partitions, 1)])[case].result(30)
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 50, "queue.buffering.max.messages": 2_000_000})
    for number, content in enumerate(messages(kind, size, count)):
        producer.produce(case, content, partition=number % partitions)
        if number % 10_000 == 0:
            producer.poll(0)
    assert producer.flush(300) == 0


def bare(broker: str, topic: str, count: int, settings: dict[str, Any]) -> int:
    """Every message's content by the same client with the same settings, and nothing done with it."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": broker, "group.id": "bare", **settings})
    partitions = consumer.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    seen = 0
    while seen < count:
        for message in consumer.consume(BATCH, timeout=1):
            if message.error() is None:
                seen += len(message.value() or b"") > 0
    consumer.close()
    return seen


def ours(broker: str, topic: str, kind: str, folder: Path) -> int:
    """The step that ingests, as a run does it; the table's rows."""
    from tests.tradewind_runtime.steprun import ingest

    from tradewind_runtime.connections import Connection
    from tradewind_runtime.contract.sources import Source
    from tradewind_runtime.lake import Lake
    from tradewind_runtime.sources import Access, kafka

    os.environ["AIRFLOW_CONN_KAFKA_DEFAULT"] = f"kafka://{broker}"
    asked: dict[str, Any] = {"topic": topic, "format": kind}
    if kind == "avro":
        asked["schema_file"] = "flight.avsc"
    source = Source.model_validate({"kafka": asked, "columns": None if kind == "raw" else COLUMNS})
    lake = (folder / "lake").as_uri()
    given = Connection.parse("kafka_default", os.environ["AIRFLOW_CONN_KAFKA_DEFAULT"])
    end = kafka.end_position(source, Access(lake=Lake(lake), connection=given))
    more = {"code": _schema(lake)} if kind == "avro" else {}
    return int(ingest(lake, source, end, connection="kafka_default", **more).metrics["rows"])


def _schema(lake: str) -> Any:
    """The user code that has the schema's file."""
    from tradewind.plan.code import UserCode
    from tradewind_runtime.contract.request import CodeRef
    from tradewind_runtime.documents import Documents

    code = UserCode({"include/schemas/flight.avsc": json.dumps(SCHEMA).encode()})
    Documents(lake).create(f"code/{code.digest}.tar.gz", code.archive)
    return CodeRef(archive=code.digest, closure=code.digest)


def spark(broker: str, topic: str, folder: Path) -> int:
    """Spark's own Kafka source in batch, typed by `from_json`, to Parquet; on as many cores as ours has."""
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import col, from_json

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = builder.config("spark.jars", ",".join(map(str, _jars()))).getOrCreate()
    rows = session.read.format("kafka").option("kafka.bootstrap.servers", broker).option("subscribe", topic)
    types = ", ".join(f"{name} {kind.replace('long', 'bigint')}" for name, kind in COLUMNS.items())
    value = from_json(col("value").cast("string"), types).alias("row")
    typed = (
        rows.load().select(value, "topic", "partition", "offset", "timestamp").select("row.*", "partition", "offset")
    )
    typed.write.parquet(str(folder / "spark"))
    count = session.read.parquet(str(folder / "spark")).count()
    session.stop()
    return int(count)


def _jars() -> list[Path]:
    """Spark's Kafka source and what it needs, fetched once."""
    import pyspark

    from tradewind_runtime import caches, ivy, java

    found = java.find()

    def download(target: Path, cache: Path) -> None:
        target.mkdir()
        words = ivy.command(found.executable, target.parent, bare=found.origin == java.PACKAGED)
        ivy.run(
            [*words, "-dependency", "org.apache.spark", "spark-sql-kafka-0-10_2.13", pyspark.__version__], target, cache
        )

    folder = ivy.fetched(caches.folder() / f"bench-spark-kafka-{pyspark.__version__}", download)
    known = {jar.name for jar in (ivy.spark_jars() or Path()).glob("*.jar")}
    return sorted(jar for jar in folder.glob("*.jar") if jar.name not in known)


def settings() -> dict[str, Any]:
    """Those of our consumer that matter for its speed."""
    return {
        "enable.auto.commit": False, "enable.auto.offset.store": False, "isolation.level": "read_committed",
        "fetch.queue.backoff.ms": 5, "queued.max.messages.kbytes": 65_536,
    }  # fmt: skip


def one(who: str, broker: str, case: str, count: int) -> dict[str, Any]:
    """What one of them takes in this process, with what it imports."""
    kind = CASES[case][0]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        work: dict[str, Callable[[], int]] = {
            "bare": lambda: bare(broker, case, count, settings()),
            "ours": lambda: ours(broker, case, kind, folder),
            "spark": lambda: spark(broker, case, folder),
        }
        began, used = time.perf_counter(), time.process_time()
        rows = work[who]()
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return {
            "rows": rows,
            "wall": round(wall, 3),
            "cpu": round(cpu + usage.ru_utime + usage.ru_stime, 3),
            "peak_mib": peak,
        }


def measured(who: str, broker: str, case: str, count: int) -> dict[str, Any]:
    """The same in a process of its own."""
    words = [
        sys.executable,
        "-m",
        "bench.ingest",
        "--one",
        who,
        "--broker",
        broker,
        "--case",
        case,
        "--messages",
        str(count),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == count, found
    return found


def compare(broker: str, case: str, count: int, repeat: int) -> dict[str, Any]:
    """One case: the quickest of a few times of each, and how they compare."""
    kind, size, partitions, _ = CASES[case]
    fill(broker, case, count)
    peers = ["bare", "ours", *(["spark"] if kind == "json" else [])]
    raw = {who: [measured(who, broker, case, count) for _ in range(repeat)] for who in peers}
    best = {who: min(run["wall"] for run in runs) for who, runs in raw.items()}
    body: dict[str, Any] = {
        "format": kind, "bytes": size, "partitions": partitions, "messages": count, "raw": raw,
        "of_bare": round(best["bare"] / best["ours"], 3),
        "messages_a_second": {who: round(count / seconds) for who, seconds in best.items()},
        "peak_mib": max(run["peak_mib"] for run in raw["ours"]),
    }  # fmt: skip
    if "spark" in best:
        body["times_spark"] = round(best["spark"] / best["ours"], 2)
    shown = {name: value for name, value in body.items() if name != "raw"}
    print(f"{case}: {json.dumps(shown)}", flush=True)
    return body


def main() -> int:
    """Every case, with a broker of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help="cases, by commas")
    parser.add_argument("--one", default="")
    parser.add_argument("--broker", default="")
    parser.add_argument("--case", default="")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.broker, options.case, options.messages)))
        return 0
    from tradewind.dev.running import start
    from tradewind.dev.servers.kafka import Kafka

    names = options.only.split(",") if options.only else list(CASES)
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as folder, start(Kafka.at(Path(folder))) as running:
        broker = running.server.address
        found = {name: compare(broker, name, int(options.messages * CASES[name][3]), options.repeat) for name in names}
    good = all(
        case["of_bare"] >= GOALS["raw" if case["format"] == "raw" else "typed"]
        and case.get("times_spark", GOALS["spark"]) >= GOALS["spark"]
        and case["peak_mib"] <= GOALS["memory_mib"]
        for case in found.values()
    )
    write("ingest", {"ok": good, "goals": GOALS, "client": settings(), "cases": found})
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
