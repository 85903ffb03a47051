"""A Spark that leaves nothing behind."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark import __version__ as VERSION  # noqa: N812
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from tradewind_runtime import java
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines.spark import connect, events, executors, pending, s3, standalone
from tradewind_runtime.engines.spark.errors import at_work, cause
from tradewind_runtime.lake import Lake

#: A short run ends before the JVM's second compiler pays; `settings.spark.java_options` is for long ones.
#: Spark's classes fill the first 21 MB of metaspace many times over, and each time would collect all memory.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:MetaspaceSize=256m"
#: Options that everybody could read in a list of processes, by the words that Spark leaves out of its own logs.
_SECRET = re.compile(r"(?i)secret|password|token|access[.]?key")


@contextmanager
def session(
    settings: Mapping[str, Any], scratch: Path, lake: Lake | None = None, *, name: str = "tradewind"
) -> Iterator[SparkSession]:
    """A Spark for the time of a step; one that is active already is used and left running.

    Its JVM reads this process's end from its standard input, so it dies with the step, however that dies.

    Raises:
        StepError: TW546 where it does not start, gets no executor, or its settings are not such; and where it fails,
            unless somebody within tells more.
    """
    with at_work("the step's own calls"), _session(settings, scratch, lake, name) as spark:
        yield spark


@contextmanager
def _session(settings: Mapping[str, Any], scratch: Path, lake: Lake | None, name: str) -> Iterator[SparkSession]:
    if (active := SparkSession.getActiveSession()) is not None:
        yield active
        return
    if connect.asked(settings):
        with connect.session(settings, lake, name) as spark:
            yield spark
        return
    given = options(settings, scratch, lake)
    if standalone.asked(settings):
        given = standalone.driver(settings) | given
    _environment(settings, given)
    spark = _started(name, given, settings)
    try:
        with _awaited(spark, settings):
            yield spark
    except Exception:
        spark.stop()
        raise
    else:  # not after SystemExit: who is told to stop does not wait for running jobs
        spark.stop()


def _environment(settings: Mapping[str, Any], given: Mapping[str, str]) -> None:
    """What Spark knows by variables alone."""
    os.environ["JAVA_HOME"] = str(java.find(settings.get("java_home")).home)
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    theirs = None if _local(settings) else settings.get("python")  # other machines may have it elsewhere
    os.environ["PYSPARK_PYTHON"] = str(theirs or sys.executable)
    if _local(settings) or standalone.asked(settings):
        os.environ["SPARK_LOCAL_IP"] = given["spark.driver.bindAddress"]  # whatever the machine's name resolves to
    os.environ.pop("SPARK_HOME", None)  # another Spark's scripts do not fit this one's Python


def _started(name: str, given: Mapping[str, str], settings: Mapping[str, Any]) -> SparkSession:
    public = [(key, value) for key, value in given.items() if not _SECRET.search(key)]
    try:
        # Its command line has all but the secrets, which it is given afterwards.
        SparkContext._ensure_initialized(conf=SparkConf(loadDefaults=False).setAll(public))  # noqa: SLF001
        return SparkSession.builder.appName(name).config(map=dict(given)).getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        raise _refused(settings, cause(error)) from error


def _refused(settings: Mapping[str, Any], why: str) -> StepError:
    if standalone.asked(settings):
        message = f"the Spark master took no application: {why}"
        fix = f"see the log above; is its Spark {VERSION}, and its secret that of settings.spark.connection?"
    else:
        message = f"Spark did not start: {why}"
        fix = "see the log above; is there memory for settings.spark.driver_memory?"
    return StepError("TW546", message, got=str(settings.get("master")), fix=fix)


def _awaited(spark: SparkSession, settings: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Executors of a cluster of others may never come."""
    if not standalone.asked(settings):
        return nullcontext()
    return pending.ended(spark.sparkContext, standalone.pending_timeout(settings))


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
        "spark.ui.liveUpdate.period": "0",  # else `progress` counts tasks that have ended, and not those that began
        "spark.eventLog.enabled": "false",  # an earlier Spark of this process may have had one
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
    send = standalone.asked(settings)
    if send:
        found |= standalone.options(settings)
    if jars := settings.get("jars"):  # of others, and then all of them
        found["spark.jars"], send = jars if isinstance(jars, str) else ",".join(map(str, jars)), False
    if lake is not None and lake.root.startswith("s3://"):
        found |= s3.options(lake, own_jars=_local(settings) or send, send=send)
    elsewhere, history = executors.asked(settings) or standalone.asked(settings), events.history(settings)
    if lake is not None and settings.get("event_log", elsewhere or history is not None):
        found |= events.options(lake)
    return found | {str(name): str(value) for name, value in settings.get("options", {}).items()}


def _master(settings: Mapping[str, Any]) -> str:
    master = str(settings.get("master", "local[2]"))
    return executors.MASTER if master == "k8s://" else master


def _local(settings: Mapping[str, Any]) -> bool:
    return _master(settings).startswith("local")
