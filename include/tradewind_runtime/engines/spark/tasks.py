"""Work in Spark's tasks: what one makes of each of some things; on Spark Connect too."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa
from pyspark.sql import SparkSession, is_remote

CORES = 32  # of a Spark that does not say how many it has: a few tasks more cost little, a few less leave some idle
Given = TypeVar("Given")
Made = TypeVar("Made")


def each(spark: SparkSession, work: Callable[[Given], Made], given: Sequence[Given]) -> list[Made]:
    """What a task makes of each, in their order: as many tasks as things."""
    if not given:
        return []
    if not is_remote():
        return spark.sparkContext.parallelize(list(given), len(given)).map(work).collect()
    # A client has no such thing: there each task is sent what all are given.

    def made(asked: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number in (number for batch in asked for number in batch.column(0).to_pylist()):
            yield pa.record_batch({"number": [number], "made": [pickle.dumps(work(given[number]))]})

    rows = spark.range(0, len(given), 1, len(given)).mapInArrow(made, "number long, made binary").collect()
    # They come from where our own code was sent to, as with each answer of PySpark's.
    found: dict[int, Made] = {row["number"]: pickle.loads(row["made"]) for row in rows}  # noqa: S301
    return [found[number] for number in range(len(given))]
