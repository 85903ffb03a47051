"""Pinned tables as frames, and a frame as Parquet files."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  (Spark's own habit)
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import DataType, DoubleType, FloatType, IntegerType, LongType, StructType

from tradewind_runtime.contract.refs import Window
from tradewind_runtime.engines import Job
from tradewind_runtime.engines.output import unheld
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.staging import DAY

#: Up to where a floating-point type has each whole number of another type, as Arrow has it for the other engines.
_EXACT: Mapping[tuple[DataType, DataType], int] = {
    (LongType(), DoubleType()): 2**53,
    (IntegerType(), FloatType()): 2**24,
}


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
    """As Parquet, with that schema; a file holds rows of one day, where rows have a time.

    Raises:
        StepError: TW547 where a whole number would be rounded.
    """
    wanted = from_arrow_schema(plain(schema), prefer_timestamp_ntz=True)
    rows = result.where(_within(job.time, job.context.range)) if job.time else result
    _check_whole(rows, schema, wanted)
    frame = rows.select([F.col(quoted(one.name)).cast(one.dataType).alias(one.name) for one in wanted])
    if job.time is None:
        frame.write.parquet(folder)
        return
    day = frame.withColumn(DAY, F.to_date(F.col(quoted(job.time))))
    day.repartition(DAY).write.partitionBy(DAY).parquet(folder)


def _within(name: str, span: Window | None) -> Column:
    time = F.col(quoted(name)).cast("timestamp")
    return time.isNotNull() if span is None else (time >= F.lit(span.start)) & (time < F.lit(span.end))


def _check_whole(rows: DataFrame, schema: pa.Schema, wanted: StructType) -> None:
    """By a pass over the columns alone whose numbers Spark might round without a word, where there are such."""
    kinds = {one.name: (rows.schema[one.name].dataType, one.dataType) for one in wanted}
    limits = {name: _EXACT[pair] for name, pair in kinds.items() if pair in _EXACT}
    if not limits:
        return
    columns = [(F.col(quoted(name)), limit) for name, limit in limits.items()]
    beyond = rows.agg(*(F.max(F.when(~column.between(-limit, limit), column)) for column, limit in columns)).collect()
    for (name, limit), value in zip(limits.items(), beyond[0], strict=True):
        if value is not None:
            raise unheld(schema.field(name), f"{value} is not between {-limit} and {limit}")


def quoted(name: str) -> str:
    """A column's name, whatever it is, in Spark's words."""
    return f"`{name.replace('`', '``')}`"
