"""Kafka Connect with Iceberg's sink: JSON to a table, each message once, by a worker of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from tradewind_runtime import caches, ivy, java

KAFKA, ICEBERG, HADOOP = "4.1.0", "1.10.1", "3.4.2"
TABLE = "bench.messages"
LIMIT = 300  # seconds
_JAVA = ("-Xmx2g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
_JARS = f"""\
<ivy-module version="2.0">
  <info organisation="bench" module="connect"/>
  <configurations><conf name="default"/></configurations>
  <dependencies defaultconfmapping="default->default">
    <dependency org="org.apache.kafka" name="connect-runtime" rev="{KAFKA}"/>
    <dependency org="org.apache.kafka" name="connect-json" rev="{KAFKA}"/>
    <dependency org="org.apache.iceberg" name="iceberg-kafka-connect" rev="{ICEBERG}"/>
    <dependency org="org.apache.iceberg" name="iceberg-parquet" rev="{ICEBERG}"/>
    <dependency org="org.slf4j" name="slf4j-simple" rev="2.0.17"/>
    <dependency org="org.apache.hadoop" name="hadoop-client-api" rev="{HADOOP}"/>
    <dependency org="org.apache.hadoop" name="hadoop-client-runtime" rev="{HADOOP}"/>
  </dependencies>
</ivy-module>
"""
#: A worker that takes many messages at a time, as its documentation advises; 500 are the default.
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
    own = os.getpid()
    (folder / "plugins").mkdir()
    settings = {"broker": broker, "folder": folder, "topic": topic, "own": own, "table": TABLE}
    for name, text in {"worker": _WORKER, "sink": _SINK}.items():
        (folder / f"{name}.properties").write_text(text.format(**settings))
    words = ["org.apache.kafka.connect.cli.ConnectStandalone", folder / "worker.properties", folder / "sink.properties"]
    log, until = folder / "connect.log", time.monotonic() + LIMIT
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [str(java.find().executable), *_JAVA, "-cp", f"{_jars()}/*", *map(str, words)],
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


def _jars() -> Path:
    """Fetched once."""
    found = java.find()

    def download(target: Path, cache: Path) -> None:
        target.mkdir()
        listing = target.parent / "ivy.xml"
        listing.write_text(_JARS)
        words = ivy.command(found.executable, target.parent, bare=found.origin == java.PACKAGED)
        said = ivy.run([*words, "-ivy", str(listing)], target, cache)
        wanted = {f"iceberg-{name}-{ICEBERG}.jar" for name in ("kafka-connect", "kafka-connect-events", "parquet")}
        if not wanted <= {jar.name for jar in target.iterdir()}:
            raise ivy.NotFetchedError(said[-3000:])

    return ivy.fetched(caches.folder() / f"bench-connect-{KAFKA}-{ICEBERG}", download)
