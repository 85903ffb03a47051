"""Who reads: Tradewind's step, the same client with nothing done, Spark's own Kafka source, Kafka Connect."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.ingest import connect, stages
from bench.ingest.topics import COLUMNS, SCHEMA, Case
from bench.measuring import taken

BATCH, TIMEOUT = 10_000, 30.0
#: Those of our consumer that matter for its speed.
CLIENT: dict[str, Any] = {
    "enable.auto.commit": False, "enable.auto.offset.store": False, "isolation.level": "read_committed",
    "fetch.queue.backoff.ms": 5, "queued.max.messages.kbytes": 8_192, "fetch.max.bytes": 4_194_304,
}  # fmt: skip
End = Mapping[str, int]  # partition → offset


def bare(broker: str, case: Case, end: End) -> int:
    """Every message's content by the same client with the same settings, and nothing done with it."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    from tradewind_runtime.garbage import seldom_collected

    consumer = Consumer({"bootstrap.servers": broker, "group.id": "bare", **CLIENT})
    consumer.assign([TopicPartition(case.name, int(partition), OFFSET_BEGINNING) for partition in end])
    seen, all_ = 0, sum(end.values())
    with seldom_collected():
        while seen < all_:
            for message in consumer.consume(min(BATCH, all_ - seen), timeout=1):  # the topic may go on
                if message.error() is None:
                    seen += len(message.value() or b"") > 0
    consumer.close()
    return seen


def ours(broker: str, case: Case, end: End, lake: str) -> int:
    """The step that ingests, as a run does it; how many rows."""
    from tests.tradewind_runtime.steprun import ingest

    from tradewind_runtime import without_pandas
    from tradewind_runtime.contract.sources import Source

    without_pandas.leave_out()  # as the process of a run does
    os.environ["AIRFLOW_CONN_KAFKA_DEFAULT"] = f"kafka://{broker}"
    asked: dict[str, Any] = {"topic": case.name, "format": case.kind}
    if case.kind == "avro":
        asked["schema_file"] = "flight.avsc"
    source = Source.model_validate({"kafka": asked, "columns": None if case.kind == "raw" else COLUMNS})
    more = {"code": _schema(lake)} if case.kind == "avro" else {}
    run = "-".join(end)  # of two that read at once, each has its own
    return int(ingest(lake, source, dict(end), connection="kafka_default", run=run, **more).metrics["rows"])


def _schema(lake: str) -> Any:
    """The user code that has the schema's file."""
    from tradewind.plan.code import UserCode
    from tradewind_runtime.contract.request import CodeRef
    from tradewind_runtime.documents import Documents

    code = UserCode({"include/schemas/flight.avsc": json.dumps(SCHEMA).encode()})
    Documents(lake).create(f"code/{code.digest}.tar.gz", code.archive)
    return CodeRef(archive=code.digest, closure=code.digest)


def spark(broker: str, case: Case, end: End, folder: Path) -> int:
    """Spark's own Kafka source in batch, JSON typed by `from_json`, to Parquet; on as many cores as ours has."""
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import col, from_json

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = builder.config("spark.jars", ",".join(map(str, _jars()))).getOrCreate()
    source = session.read.format("kafka").option("kafka.bootstrap.servers", broker).option("subscribe", case.name)
    source = source.option("endingOffsets", json.dumps({case.name: dict(end)}))
    rows = source.load().select("value", "topic", "partition", "offset", "timestamp")
    if case.kind == "json":
        types = ", ".join(f"{name} {kind.replace('long', 'bigint')}" for name, kind in COLUMNS.items())
        rows = rows.withColumn("value", from_json(col("value").cast("string"), types)).select(
            "value.*", *rows.columns[1:]
        )
    rows.write.parquet(str(folder / "spark"))
    count = session.read.parquet(str(folder / "spark")).count()
    session.stop()
    return int(count)


def _jars() -> list[Path]:
    """Spark's Kafka source and what it needs."""
    import pyspark

    from tradewind.dev import jars
    from tradewind_runtime import ivy

    version = pyspark.__version__
    folder = jars.fetched(f"bench-spark-kafka-{version}", f"org.apache.spark:spark-sql-kafka-0-10_2.13:{version}")
    known = {jar.name for jar in (ivy.spark_jars() or Path()).glob("*.jar")}
    return sorted(jar for jar in folder.glob("*.jar") if jar.name not in known)


def by_stages(broker: str, case: Case, end: End, lake: str) -> dict[str, Any]:
    """As ours, with the microseconds that each stage takes of a message."""
    clock = stages.watched()
    found = taken(lambda: ours(broker, case, end, lake))
    each = {stage: round(seconds / found["rows"] * 1e6, 3) for stage, seconds in clock.spent.items()}
    rest = found["wall"] / found["rows"] * 1e6 - sum(each.values())
    return found | {"stages_us": each | {"start and the rest": round(rest, 3)}}


def one(who: str, broker: str, case: Case, end: End, lake: str | None) -> dict[str, Any]:
    """What one of them takes in this process, with what it imports; of what has a Java only the seconds are known."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        own = lake or (folder / "lake").as_uri()
        if who == "stages":
            return by_stages(broker, case, end, own)
        if who in ("bare", "ours"):
            read = {"bare": lambda: bare(broker, case, end), "ours": lambda: ours(broker, case, end, own)}[who]
            return taken(read)
        java: dict[str, Callable[[], int]] = {
            "spark": lambda: spark(broker, case, end, folder),
            "connect": lambda: connect.written(broker, case.name, sum(end.values()), folder),
        }
        return {name: value for name, value in taken(java[who]).items() if name not in ("cpu", "peak_mib")}
