"""A Spark that leaves nothing behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from tradewind_runtime import java
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines.spark import events, executors, s3
from tradewind_runtime.engines.spark.errors import cause
from tradewind_runtime.lake import Lake

#: A short run ends before the JVM's second compiler pays; `settings.spark.java_options` is for long ones.
#: Spark's classes fill the first 21 MB of metaspace many times over, and each time would collect all memory.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:MetaspaceSize=256m"


@contextmanager
def session(
    settings: Mapping[str, Any], scratch: Path, lake: Lake | None = None, *, name: str = "tradewind"
) -> Iterator[SparkSession]:
    """A Spark for the time of a step; one that is active already is used and left running.

    Its JVM reads this process's end from its standard input, so it dies with the step, however that dies.

    Raises:
        StepError: TW546 where it does not start, or its settings are not such.
    """
    if (active := SparkSession.getActiveSession()) is not None:
        yield active
        return
    os.environ["JAVA_HOME"] = str(java.find(settings.get("java_home")).home)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    if _local(settings):
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"  # whatever the machine's name resolves to
    os.environ.pop("SPARK_HOME", None)  # another Spark's scripts do not fit this one's Python
    builder = SparkSession.builder.appName(name).config(map=options(settings, scratch, lake))
    try:
        spark = builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        raise StepError(
            "TW546",
            f"Spark did not start: {cause(error)}",
            got=str(settings.get("master")),
            fix="see the log above; is there memory for settings.spark.driver_memory?",
        ) from error
    try:
        yield spark
    except Exception:
        spark.stop()
        raise
    else:  # not after SystemExit: who is told to stop does not wait for running jobs
        spark.stop()


def options(settings: Mapping[str, Any], scratch: Path, lake: Lake | None) -> dict[str, Any]:
    """Spark's options of a profile's settings.

    Raises:
        StepError: TW546 where they are not such, or something that they need cannot be had.
    """
    found: dict[str, Any] = {
        "spark.master": _master(settings),
        # The local stack cuts it on a machine with little.
        "spark.driver.memory": os.environ.get("TRADEWIND_SPARK_MEMORY") or str(settings.get("driver_memory", "1g")),
        "spark.driver.extraJavaOptions": f'-Djava.io.tmpdir="{scratch}" -Dderby.system.home="{scratch}" '
        f"-Duser.timezone=UTC {settings.get('java_options', QUICK)}",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "WARN",
        "spark.local.dir": str(scratch / "spark"),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(settings.get("shuffle_partitions", 2)),
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    }
    if _local(settings):
        found |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            # One process lists a day's few files sooner than a job of a task each does.
            "spark.sql.sources.parallelPartitionDiscovery.threshold": "1000",
            # What a job caches lies in this process's memory: packing it costs more than it saves.
            "spark.sql.inMemoryColumnarStorage.compressed": "false",
        }
    if executors.asked(settings):
        found |= executors.options(settings, scratch, lake)
    if jars := settings.get("jars"):
        found["spark.jars"] = jars if isinstance(jars, str) else ",".join(map(str, jars))
    if lake is not None and lake.root.startswith("s3://"):
        found |= s3.options(lake, own_jars=_local(settings))
    if lake is not None and settings.get("event_log", executors.asked(settings)):
        found |= events.options(lake)
    return found | {str(name): str(value) for name, value in settings.get("options", {}).items()}


def _master(settings: Mapping[str, Any]) -> str:
    master = str(settings.get("master", "local[2]"))
    return executors.MASTER if master == "k8s://" else master


def _local(settings: Mapping[str, Any]) -> bool:
    return _master(settings).startswith("local")
