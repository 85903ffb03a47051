"""Columns that DuckDB reduces, within its memory and the step's folder: see `tradewind_runtime.reducing`.

It is given the columns by the lake's own reader, chunk by chunk, so it needs no way to S3, and rows have their numbers.
Each question is one reading of the columns that it names; nothing of them is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa

from tradewind_runtime import sifting
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines.duckdb.database import cause, opened
from tradewind_runtime.reducing import Figures, There, summed
from tradewind_runtime.sifting import Numbers, Part

MEMORY = "500MB"  # more makes it no faster: texts of 20 million rows are told apart in 8 s by this and by 2 GB

_ROW = "row_number"
_KEPT = "kept"


@contextmanager
def reducer(step: StepContext, part: Part) -> Iterator[BySql]:
    """A database for the time of a check.

    Raises:
        StepError: TW546 where it fails, such as where its folder is full.
    """
    stopped: list[BaseException] = []
    try:
        with opened(step, MEMORY) as database:
            yield BySql(database, part, stopped)
    except duckdb.Error as error:
        if stopped:  # which DuckDB tells as a failure of its own
            raise stopped[0] from None
        raise StepError(
            "TW546", f"DuckDB failed at judging all rows at once: {cause(error)}",
            path="settings.duckdb.memory", fix="give it more memory, or more room in the folder for temporary files",
        ) from error  # fmt: skip


@dataclass(frozen=True)
class BySql:
    """All rows of one part. Columns are c0, c1, … there, whatever their names are."""

    database: duckdb.DuckDBPyConnection
    part: Part
    #: Why reading rows ended: the step was told to stop, or the lake has its own error.
    stopped: list[BaseException] = field(default_factory=list)

    def figures(self, columns: Sequence[str]) -> Mapping[str, Figures]:
        """Of all these columns, by one reading."""
        if not columns:
            return {}
        asked = [_asked(f"c{at}", self._kind(name)) for at, name in enumerate(columns)]
        chosen = [f"{one} as {figure}{at}" for at, each in enumerate(asked) for figure, one in each.items()]
        (row,) = self._given(columns).aggregate(", ".join(chosen)).to_arrow_table().to_pylist()
        return {
            name: Figures(**{figure: row[f"{figure}{at}"] for figure in each})
            for at, (name, each) in enumerate(zip(columns, asked, strict=True))
        }

    def distinct(self, column: str) -> int:
        """How many distinct values."""
        return _number(self._given([column]).aggregate("count(distinct c0)"))

    def values(self, column: str, *, commonest: bool) -> pa.ChunkedArray:
        """The distinct values, or those that come most often."""
        there = self._given([column]).filter("c0 is not null")
        if not commonest:
            return self._column(there.project("c0").distinct(), column)
        with self._kept(there.aggregate("c0, count(*) as n", "c0")) as counts:
            most = _number(counts.aggregate("coalesce(max(n), 0)"))
            return self._column(counts.filter(f"n = {most}").project("c0"), column)

    def repeated(self, columns: Sequence[str], there: There) -> tuple[int, Numbers]:
        """Those whose values are among those that come twice; these alone are held while the rows are read again."""
        names = [f"c{at}" for at in range(len(columns))]
        keys, looked_at = ", ".join(names), _looked_at(names, there)
        count = _number(self._given(columns).filter(looked_at).aggregate("count(*)"))
        counts = self._given(columns).filter(looked_at).aggregate(f"{keys}, count(*) as n", keys)
        with self._kept(counts.filter("n > 1").project(keys)) as twice:
            if not _number(twice.aggregate("count(*)")):
                return count, np.empty(0, np.int64)
            same = " and ".join(f"{_KEPT}.{name} is not distinct from given.{name}" for name in names)
            found = self._given(columns).set_alias("given").join(twice, same, how="semi").project(_ROW)
            return count, np.sort(found.to_arrow_table().column(0).to_numpy())

    def _given(self, columns: Sequence[str]) -> duckdb.DuckDBPyRelation:
        """The columns and the numbers of the rows, which can be read once."""
        kinds = [self._kind(name) for name in columns]
        names = [_ROW, *(f"c{at}" for at in range(len(kinds)))]
        schema = pa.schema(list(zip(names, [pa.int64(), *kinds], strict=True)))

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                for numbers, chunk in sifting.counted(self.part, columns):
                    yield from pa.table([numbers, *chunk.columns], schema=schema).to_batches()
            except (StepError, SystemExit, KeyboardInterrupt) as error:
                self.stopped.append(error)
                raise

        rows = self.database.from_arrow(pa.RecordBatchReader.from_batches(schema, batches()))
        return rows.project(", ".join(_value(one.name, one.type) for one in schema))

    @contextmanager
    def _kept(self, found: duckdb.DuckDBPyRelation) -> Iterator[duckdb.DuckDBPyRelation]:
        """What was found, to be asked more than once."""
        found.create(_KEPT)
        try:
            yield self.database.table(_KEPT)
        finally:
            self.database.execute(f"DROP TABLE {_KEPT}")

    def _column(self, found: duckdb.DuckDBPyRelation, column: str) -> pa.ChunkedArray:
        return found.to_arrow_table().column("c0").cast(self._kind(column))

    def _kind(self, name: str) -> pa.DataType:
        return self.part.rows.schema.field(name).type


def _number(found: duckdb.DuckDBPyRelation) -> int:
    (row,) = found.fetchall()
    return int(row[0])


def _asked(value: str, kind: pa.DataType) -> dict[str, str]:
    found = {"count": f"count({value})", "low": f"min({value})", "high": f"max({value})"}
    if summed(kind):
        # Whole numbers are added up by 128 bits; of broken ones what is lost of each is kept, as pandas loses little.
        found["total"] = f"fsum({value})" if pa.types.is_floating(kind) else f"sum({value})"
        found["deviation"] = f"stddev_samp({value})"
    return found


def _value(name: str, kind: pa.DataType) -> str:
    return f"case when not isnan({name}) then {name} end as {name}" if pa.types.is_floating(kind) else name


def _looked_at(keys: Sequence[str], there: There) -> str:
    if there == "whatever":
        return "true"
    return (" and " if there == "all" else " or ").join(f"{key} is not null" for key in keys)
