"""The engine `spark`: a user's application over pinned Parquet files; what it gives is written and not committed.

Spark never sees a table's log: it gets a snapshot's files and the table's schema, and leaves Parquet in a
folder of its own. So a local Spark needs no jars, and exactly-once is the lake's business alone.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark import cloudpickle
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  (Spark's own habit)
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from tradewind_runtime import java
from tradewind_runtime.contract.base import digest
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.transform import SparkTransform
from tradewind_runtime.engines import Job, Output, failed, guarded
from tradewind_runtime.engines.output import refused, shape
from tradewind_runtime.lake import Table
from tradewind_runtime.snapshot import Snapshot

#: A helper column that cuts files by day; it becomes a folder's name and is not in the files.
DAY = "tradewind_day"


def transform(job: Job) -> Output:
    """Run `transform(spark, tables, context)` of the job's file and write its rows, a file a day.

    Raises:
        StepError: TW545 where the job fails, TW546 where Spark cannot start, TW547 where its result is no table.
    """
    assert isinstance(job.spec, SparkTransform)
    what = f"Spark job {job.spec.job}"
    function = _function(job.spec.job, job)
    with session(job.step.setting("spark", {}), job.step.scratch, job.output) as spark:
        tables = {name: _frame(spark, snapshot) for name, snapshot in job.tables.items()}
        _ship(spark, job)
        with _told(what, job):
            result = function(spark, tables, job.context)
            if not isinstance(result, DataFrame):
                raise refused(f"is a {type(result).__name__}", f"return a DataFrame from {job.spec.job}")
            schema = shape(to_arrow_schema(result.schema, timezone="UTC"), job)
            folder = job.output.staging()
            _write(result, schema, job, _uri(folder))
    staged = [one for one in job.output.staged(folder) if '"numRecords": 0,' not in one.stats]
    return Output(schema, staged)


#: A short run ends before the JVM's second compiler pays; `settings.spark.java_options` is for long ones.
#: Spark's classes fill the first 21 MB of metaspace many times over, and each time would collect all memory.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:MetaspaceSize=256m"


@contextmanager
def session(settings: Mapping[str, Any], scratch: Path, table: Table | None = None) -> Iterator[SparkSession]:
    """A Spark that leaves nothing behind; one that is active already is used and left running.

    Its JVM reads this process's end from its standard input, so it dies with the step, however that dies.
    """
    if (active := SparkSession.getActiveSession()) is not None:
        yield active
        return
    os.environ["JAVA_HOME"] = str(java.find(settings.get("java_home")).home)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    if str(settings.get("master", "local")).startswith("local"):
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"  # whatever the machine's name resolves to
    os.environ.pop("SPARK_HOME", None)  # another Spark's scripts do not fit this one's Python
    builder = SparkSession.builder.appName("tradewind").config(map=_options(settings, scratch, table))
    try:
        spark = builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        raise StepError(
            "TW546",
            f"Spark did not start: {_cause(error)}",
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


def _options(settings: Mapping[str, Any], scratch: Path, table: Table | None) -> dict[str, Any]:
    master = str(settings.get("master", "local[2]"))
    options: dict[str, Any] = {
        "spark.master": master,
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
    if master.startswith("local"):
        options |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            # One process lists a day's few files sooner than a job of a task each does.
            "spark.sql.sources.parallelPartitionDiscovery.threshold": "1000",
            # What a job caches lies in this process's memory: packing it costs more than it saves.
            "spark.sql.inMemoryColumnarStorage.compressed": "false",
        }
    if jars := settings.get("jars"):
        options["spark.jars"] = jars if isinstance(jars, str) else ",".join(map(str, jars))
    if table is not None and not table.local:
        options |= _s3(table)
    return options | {str(name): str(value) for name, value in settings.get("options", {}).items()}


def _s3(table: Table) -> dict[str, str]:
    """The lake's store, in Hadoop's words; `settings.spark.jars` must hold hadoop-aws and its bundle."""
    given = table.options
    names = {
        "fs.s3a.endpoint": given.get("AWS_ENDPOINT_URL"),
        "fs.s3a.endpoint.region": given.get("AWS_REGION"),
        "fs.s3a.access.key": given.get("AWS_ACCESS_KEY_ID"),
        "fs.s3a.secret.key": given.get("AWS_SECRET_ACCESS_KEY"),
        "fs.s3a.path.style.access": "true" if given.get("AWS_ENDPOINT_URL") else None,
    }
    return {f"spark.hadoop.{name}": value for name, value in names.items() if value}


def _function(path: str, job: Job) -> Callable[..., Any]:
    code = job.step.code
    file = code / path if code else None
    if file is None or not file.is_file():
        raise StepError("TW530", f"{path} is not in this run's user code", retryable=False, path="transform.spark.job")
    spec = importlib.util.spec_from_file_location(f"tradewind_job_{file.stem}", file)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(file.parent))
    try:
        with guarded(f"Spark job {path}", code):
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return _entry(module, path)


def _entry(module: ModuleType, path: str) -> Callable[..., Any]:
    found = getattr(module, "transform", None)
    if not callable(found):
        raise StepError(
            "TW545",
            f"{path} defines no function `transform`",
            retryable=False,
            file=path,
            expected="transform(spark, tables, context) -> DataFrame",
        )
    # Workers cannot import it by its name, so its functions travel as they are.
    cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    return found  # type: ignore[no-any-return]


def _ship(spark: SparkSession, job: Job) -> None:
    """What the job imports from beside it must be found by Spark's workers too."""
    assert job.step.code is not None, "the job was found there"
    for name in ("spark_jobs", "include/models"):
        folder = job.step.code / name
        files = sorted(folder.rglob("*.py"))
        if len(files) > (name == "spark_jobs"):
            texts = {file.relative_to(folder).as_posix(): file.read_text() for file in files}
            # Spark refuses another file of a name that it knows: the same code has the same name and the same bytes.
            archive = job.step.scratch / f"code-{digest(texts)[:16]}.zip"
            with zipfile.ZipFile(archive, "w") as made:
                for path, text in texts.items():
                    made.writestr(zipfile.ZipInfo(path), text)
            spark.sparkContext.addPyFile(str(archive))


def _frame(spark: SparkSession, snapshot: Snapshot) -> DataFrame:
    """A snapshot's rows: exactly its files, with no partition inferred from a folder's name."""
    schema = from_arrow_schema(_plain(snapshot.schema), prefer_timestamp_ntz=True)
    if not snapshot.files:
        return spark.createDataFrame([], schema)
    reader = spark.read.schema(schema).option("recursiveFileLookup", "true")
    return reader.parquet(*(_uri(name) for name in snapshot.files))


def _plain(schema: pa.Schema) -> pa.Schema:
    """Delta's Arrow types in the words that Spark knows."""
    names = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return pa.schema([pa.field(one.name, names.get(one.type, one.type)) for one in schema])


def _uri(name: str) -> str:
    return name.replace("s3://", "s3a://", 1) if "://" in name else f"file://{name}"


def _write(result: DataFrame, schema: pa.Schema, job: Job, folder: str) -> None:
    wanted = from_arrow_schema(_plain(schema), prefer_timestamp_ntz=True)
    frame = result.select([F.col(_quoted(one.name)).cast(one.dataType).alias(one.name) for one in wanted])
    if job.time is None:
        frame.write.parquet(folder)
        return
    time = F.col(_quoted(job.time))
    if span := job.context.range:
        frame = frame.where((time >= F.lit(span.start)) & (time < F.lit(span.end)))
    day = frame.where(time.isNotNull()).withColumn(DAY, F.to_date(time))
    day.repartition(DAY).write.partitionBy(DAY).parquet(folder)


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


@contextmanager
def _told(what: str, job: Job) -> Iterator[None]:
    """Errors of the job in a line. What fails while Spark runs may be a lost executor, so it may be tried again."""
    try:
        yield
    except StepError:
        raise
    except (AnalysisException, ParseException) as error:
        traceback.print_exc()
        raise failed(what, error, job.step.code, cause=_cause(error)) from error
    except (PySparkException, Py4JError) as error:
        traceback.print_exc()
        raise failed(what, error, job.step.code, cause=_cause(error), retryable=True) from error
    except Exception as error:
        traceback.print_exc()
        raise failed(what, error, job.step.code) from error


def _cause(error: BaseException) -> str:
    """The last cause that Spark's long text names: of a Python worker, else of the JVM, else its first line."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if any(line.lstrip().startswith("Traceback (most recent call last)") for line in lines):
        raised = [line for line in lines if re.match(r"\w[\w.]*(Error|Exception|Exit|Interrupt|Warning)\b", line)]
        if raised:
            return raised[-1]
    caused = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (caused or lines or [type(error).__name__])[-1 if caused else 0].strip()
