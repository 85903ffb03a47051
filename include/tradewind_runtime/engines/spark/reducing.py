"""Columns that Spark reduces, by its shuffles, which go to disk where they must: see `tradewind_runtime.reducing`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812  (Spark's own habit)
from pyspark.sql.pandas.types import from_arrow_schema

from tradewind_runtime import sifting
from tradewind_runtime.engines.spark.tables import frame, plain, quoted
from tradewind_runtime.reducing import Figures, There, summed
from tradewind_runtime.sifting import Numbers, Part
from tradewind_runtime.snapshot import Snapshot

_NUMBER = "tradewind_row_number"


@dataclass(frozen=True)
class BySpark:
    """The rows of some parts, which are all of a snapshot."""

    spark: SparkSession
    rows: Snapshot
    parts: Sequence[Part]

    def figures(self, columns: Sequence[str]) -> Mapping[str, Figures]:
        """Of all these columns, by one job."""
        if not columns:
            return {}
        asked = [dict(_asked(self._value(name), self._kind(name))) for name in columns]
        chosen = [one.alias(f"{figure}{at}") for at, each in enumerate(asked) for figure, one in each.items()]
        (row,) = self._table.agg(*chosen).toArrow().to_pylist()
        return {
            name: Figures(**{figure: row[f"{figure}{at}"] for figure in each})
            for at, (name, each) in enumerate(zip(columns, asked, strict=True))
        }

    def distinct(self, column: str) -> int:
        """How many distinct values."""
        return self._table.select(self._value(column).alias("v")).where("v is not null").distinct().count()

    def values(self, column: str, *, commonest: bool) -> pa.ChunkedArray:
        """The distinct values, or those that come most often."""
        value = self._value(column).alias("v")
        counts = self._table.select(value).where("v is not null").groupBy("v").agg(F.count(F.lit(1)).alias("n"))
        if commonest:
            most = counts.agg(F.max("n")).first()
            counts = counts.where(F.col("n") == F.lit(most[0] if most else None))
        return counts.select("v").toArrow().column(0).cast(self._kind(column))

    def repeated(self, columns: Sequence[str], there: There) -> tuple[int, Numbers]:
        """Rows whose values another row has too, by a window over those that have them."""
        keys = [self._value(name) for name in columns]
        looked_at = _looked_at(keys, there)
        others = F.count(F.lit(1)).over(Window.partitionBy(*keys)) > 1
        numbered = _numbered(self.spark, self.parts, self.rows.schema, columns).where(looked_at)
        found = numbered.select(_NUMBER, others.alias("others")).where("others").select(_NUMBER).toArrow()
        return self._table.where(looked_at).count(), np.sort(found.column(0).to_numpy())

    @property
    def _table(self) -> DataFrame:
        return frame(self.spark, self.rows)

    def _value(self, name: str) -> Column:
        column = F.col(quoted(name))
        return F.when(~F.isnan(column), column) if pa.types.is_floating(self._kind(name)) else column

    def _kind(self, name: str) -> pa.DataType:
        return self.rows.schema.field(name).type


def _asked(value: Column, kind: pa.DataType) -> Iterator[tuple[str, Column]]:
    yield "count", F.count(value)
    yield "low", F.min(value)
    yield "high", F.max(value)
    if summed(kind):
        # No sum of whole numbers is too large for that type.
        yield "total", F.sum(value if pa.types.is_floating(kind) else value.cast("decimal(38,0)"))
        yield "deviation", F.stddev_samp(value)


def _looked_at(keys: Sequence[Column], there: There) -> Column:
    if there == "whatever":
        return F.lit(True)
    return reduce(and_ if there == "all" else or_, [key.isNotNull() for key in keys])


def _numbered(spark: SparkSession, parts: Sequence[Part], schema: pa.Schema, columns: Sequence[str]) -> DataFrame:
    """Some columns, with the numbers of their rows."""
    typed = plain(pa.schema([pa.field(_NUMBER, pa.int64()), *(schema.field(name) for name in columns)]))
    wanted = from_arrow_schema(typed, prefer_timestamp_ntz=True)

    def rows(asked: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _rows(parts, typed, asked)

    return spark.range(0, len(parts), 1, len(parts)).mapInArrow(rows, wanted)


def _rows(parts: Sequence[Part], typed: pa.Schema, asked: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """In a task: the rows of the parts that it is asked for."""
    for at in (number for batch in asked for number in batch.column(0).to_pylist()):
        for numbers, chunk in sifting.counted(parts[at], typed.names[1:]):
            yield from chunk.add_column(0, _NUMBER, numbers).cast(typed).to_batches()
