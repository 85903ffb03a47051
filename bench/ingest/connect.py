"""Kafka Connect with Iceberg's sink: JSON to a table, each message once, by a worker of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from tradewind.dev import jars
from tradewind_runtime import java

KAFKA, ICEBERG, HADOOP = jars.VERSION, "1.10.1", "3.4.2"
JARS = (
    *(f"org.apache.kafka:connect-{name}:{KAFKA}" for name in ("runtime", "json")),
    *(f"org.apache.iceberg:iceberg-{name}:{ICEBERG}" for name in ("kafka-connect", "kafka-connect-events", "parquet")),
    *(f"org.apache.hadoop:hadoop-client-{name}:{HADOOP}" for name in ("api", "runtime")),
    "org.slf4j:slf4j-simple:2.0.17",
)
TABLE = "bench.messages"
LIMIT = 900  # seconds
_JAVA = ("-Xmx2g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
#: A worker that takes many messages at a time, as its documentation advises; 500 are the default. Where nothing comes
#: it asks its sink to go on as often as it keeps offsets, which is each minute by default: the last commit would wait.
_WORKER = """\
bootstrap.servers={broker}
key.converter=org.apache.kafka.connect.converters.ByteArrayConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
offset.storage.file.filename={folder}/offsets
listeners=http://127.0.0.1:0
plugin.discovery=service_load
plugin.path={folder}/plugins
consumer.isolation.level=read_committed
consumer.max.poll.records=10000
consumer.fetch.max.bytes=8388608
consumer.max.partition.fetch.bytes=8388608
offset.flush.interval.ms=1000
"""
#: A commit each two seconds, some five of two million messages, which is about what ours does.
_SINK = """\
name=iceberg-{own}
connector.class=org.apache.iceberg.connect.IcebergSinkConnector
tasks.max=1
topics={topic}
iceberg.tables={table}
iceberg.tables.auto-create-enabled=true
iceberg.catalog.type=hadoop
iceberg.catalog.warehouse={folder}/warehouse
iceberg.control.topic=control-{own}
iceberg.control.commit.interval-ms=2000
iceberg.kafka.bootstrap.servers={broker}
"""


def written(broker: str, topic: str, count: int, folder: Path) -> int:
    """So many messages to a table, in a process that is ended then; how many rows the table has.

    Raises:
        AssertionError: where the worker ends before, or takes too long; with the last of what it said.
    """
    own, folder_of_jars = os.getpid(), jars.fetched(f"bench-connect-{ICEBERG}", *JARS)
    (folder / "plugins").mkdir()
    settings = {"broker": broker, "folder": folder, "topic": topic, "own": own, "table": TABLE}
    for name, text in {"worker": _WORKER, "sink": _SINK}.items():
        (folder / f"{name}.properties").write_text(text.format(**settings))
    words = ["org.apache.kafka.connect.cli.ConnectStandalone", folder / "worker.properties", folder / "sink.properties"]
    log, until = folder / "connect.log", time.monotonic() + LIMIT
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [str(java.find().executable), *_JAVA, "-cp", f"{folder_of_jars}/*", *map(str, words)],
            stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while (rows := _rows(folder)) < count:
                assert worker.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < until, log.read_text()[-3000:]
                time.sleep(0.05)
        finally:
            worker.kill()
            worker.wait()
    return rows


def _rows(folder: Path) -> int:
    """Of the table's newest version."""
    metadata = folder / "warehouse" / TABLE.replace(".", "/") / "metadata"
    try:
        newest = (metadata / "version-hint.text").read_text()
        found = json.loads((metadata / f"v{newest}.metadata.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # there is none yet, or one is being written
        return 0
    shots = {shot["snapshot-id"]: shot for shot in found["snapshots"]}
    now = shots.get(found.get("current-snapshot-id"))
    return int(now["summary"]["total-records"]) if now else 0
