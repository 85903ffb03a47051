"""Pinned tables as frames, and a frame as Parquet files."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  (Spark's own habit)
from pyspark.sql.pandas.types import from_arrow_schema

from tradewind_runtime.engines import Job
from tradewind_runtime.snapshot import Snapshot

#: A helper column that cuts files by day; it becomes a folder's name and is not in the files.
DAY = "tradewind_day"


def frame(spark: SparkSession, snapshot: Snapshot) -> DataFrame:
    """A snapshot's rows: exactly its files, with no partition inferred from a folder's name."""
    schema = from_arrow_schema(plain(snapshot.schema), prefer_timestamp_ntz=True)
    if not snapshot.files:
        return spark.createDataFrame([], schema)
    reader = spark.read.schema(schema).option("recursiveFileLookup", "true")
    return reader.parquet(*(uri(name) for name in snapshot.files))


def plain(schema: pa.Schema) -> pa.Schema:
    """Delta's Arrow types in the words that Spark knows."""
    names = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return pa.schema([pa.field(one.name, names.get(one.type, one.type)) for one in schema])


def uri(name: str) -> str:
    """A path of the lake as Spark knows it."""
    return name.replace("s3://", "s3a://", 1) if "://" in name else f"file://{name}"


def write(result: DataFrame, schema: pa.Schema, job: Job, folder: str) -> None:
    """As Parquet, with that schema; a file holds rows of one day, where rows have a time."""
    wanted = from_arrow_schema(plain(schema), prefer_timestamp_ntz=True)
    frame = result.select([F.col(quoted(one.name)).cast(one.dataType).alias(one.name) for one in wanted])
    if job.time is None:
        frame.write.parquet(folder)
        return
    time = F.col(quoted(job.time))
    if span := job.context.range:
        frame = frame.where((time >= F.lit(span.start)) & (time < F.lit(span.end)))
    day = frame.where(time.isNotNull()).withColumn(DAY, F.to_date(time))
    day.repartition(DAY).write.partitionBy(DAY).parquet(folder)


def quoted(name: str) -> str:
    """A column's name, whatever it is, in Spark's words."""
    return f"`{name.replace('`', '``')}`"
