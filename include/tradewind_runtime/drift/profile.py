"""What a column looked like at training: a few cells and how many rows fell into each.

Numbers are cut at quantiles, between two neighbouring values and never at one, so that ties stay together and
a value that was served as float32 falls where its float64 fell. Texts are their most frequent values and "other".
The last cell holds what is missing: a feature that is suddenly null drifts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError

BINS = 10
CATEGORIES = 19
_MARGIN = 1e-6  # of a value: wider than float32's rounding


class FeatureProfile(Frozen):
    """One column. `counts` are by cell: bins or categories, then "other" for texts, then missing."""

    name: str
    kind: Literal["number", "text"]
    edges: tuple[float, ...] = Field((), description="A number's bins: (-inf, e0], (e0, e1], …, (en, inf).")
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many rows it was made of."""
        return sum(self.counts)

    def cells(self, column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """How many of these values fall into each cell."""
        values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        return self._numbers(values) if self.kind == "number" else self._texts(values)

    def _numbers(self, values: pa.Array) -> npt.NDArray[np.int64]:
        try:
            numbers = as_numbers(values)
        except pa.ArrowInvalid as error:
            raise StepError(
                "TW581",
                f"the feature {self.name!r} was a number at training and is not one now",
                retryable=False,
                got=str(error)[:200],
                fix="see what the clients send",
            ) from error
        missing = np.count_nonzero(np.isnan(numbers))
        # One comparison for each edge is several times quicker than a binary search for each value.
        below = [np.count_nonzero(numbers <= edge) for edge in self.edges]
        steps = np.diff(np.array([0, *below, len(numbers) - missing], dtype=np.int64))
        return np.append(steps, missing).astype(np.int64)

    def _texts(self, values: pa.Array) -> npt.NDArray[np.int64]:
        texts = as_texts(values)
        found = pc.index_in(texts, pa.array(self.categories, pa.string())).fill_null(len(self.categories))
        counts = np.bincount(found.to_numpy(zero_copy_only=False), minlength=len(self.categories) + 1)
        missing = texts.null_count
        counts[-1] -= missing
        return np.append(counts, missing).astype(np.int64)


class Profile(Frozen):
    """All features of one training; JSON in the artefact."""

    version: Literal[1] = 1
    rows: int
    features: tuple[FeatureProfile, ...]


def profile(table: pa.Table, columns: Iterable[str]) -> Profile:
    """What these columns look like.

    Args:
        table: the rows of training.
        columns: the features; their order is kept.
    """
    return Profile(rows=table.num_rows, features=tuple(_feature(name, table.column(name)) for name in columns))


def reference(table: pa.Table, columns: Iterable[str], rows: int = 2000, seed: int = 7) -> bytes:
    """A sample of these columns, as an Arrow file: the same rows for the same table and seed."""
    sampler = Sampler(rows, seed)
    for batch in table.select(list(columns)).to_batches():
        sampler.add(batch)
    sample = sampler.table(table.select(list(columns)).schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, sample.schema) as writer:
        writer.write_table(sample)
    return bytes(sink.getvalue().to_pybytes())


class Sampler:
    """A bounded, even sample of a stream: each row draws a number, and the lowest ones stay."""

    def __init__(self, rows: int, seed: int = 7) -> None:
        self.rows = rows
        self._random = np.random.default_rng(seed)
        self._kept: list[pa.RecordBatch] = []
        self._draws: npt.NDArray[np.float64] = np.empty(0)

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at more rows."""
        draws = self._random.random(batch.num_rows)
        limit = np.partition(self._draws, self.rows - 1)[self.rows - 1] if len(self._draws) >= self.rows else np.inf
        chosen = np.flatnonzero(draws < limit)
        if len(chosen):
            self._kept.append(batch.take(pa.array(chosen)))
            self._draws = np.concatenate([self._draws, draws[chosen]])
        if len(self._draws) > 4 * self.rows:
            self._cut()

    def _cut(self) -> None:
        order = np.sort(np.argsort(self._draws, kind="stable")[: self.rows])
        table = pa.Table.from_batches(self._kept).take(pa.array(order))
        self._kept, self._draws = table.combine_chunks().to_batches(), self._draws[order]

    def table(self, schema: pa.Schema) -> pa.Table:
        """The sample, in the order of the stream."""
        if not self._kept:
            return schema.empty_table()
        self._cut()
        return pa.Table.from_batches(self._kept)


def as_numbers(values: pa.Array) -> npt.NDArray[np.float64]:
    """As float64, NaN where there is nothing."""
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_duration(kind) or pa.types.is_time(kind):
        values = values.cast(pa.int64() if kind.bit_width == 64 else pa.int32())
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    plain = values.cast(pa.float64(), safe=False)
    if plain.null_count:
        plain = plain.fill_null(float("nan"))
    return np.asarray(plain.to_numpy(zero_copy_only=False), dtype=np.float64)


def as_texts(values: pa.Array) -> pa.Array:
    """As strings; a dictionary is unfolded, bytes that are no UTF-8 are one value."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return as_texts(values.cast(kind.value_type))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.array([None if v is None else v.decode(errors="replace") for v in values.to_pylist()], pa.string())
    if pa.types.is_nested(kind):
        return pa.array([None if v is None else repr(v) for v in values.to_pylist()], pa.string())
    return values.cast(pa.string())


def _feature(name: str, column: pa.ChunkedArray) -> FeatureProfile:
    kind: Literal["number", "text"] = "number" if _is_number(column.type) else "text"
    values = column.combine_chunks()
    empty = FeatureProfile(
        name=name,
        kind=kind,
        counts=(),
        edges=_edges(as_numbers(values)) if kind == "number" else (),
        categories=_categories(as_texts(values)) if kind == "text" else (),
    )
    return empty.model_copy(update={"counts": tuple(int(count) for count in empty.cells(values))})


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
        or types.is_temporal(kind)
        or types.is_null(kind)
    )


def _edges(numbers: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Between neighbouring values, at quantiles; one more below the lowest value where many rows share it."""
    values, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
    if not len(values):
        return ()
    shares = np.cumsum(counts) / counts.sum()
    last = np.unique(np.searchsorted(shares, np.arange(1, BINS) / BINS - 1e-9))
    margin = np.maximum(1.0, np.abs(values)) * _MARGIN
    above = np.append(values[:-1] + np.diff(values) / 2, values[-1] + margin[-1])
    edges = above[last]
    if last[0] == 0:
        edges = np.append(values[0] - margin[0], edges)
    return tuple(float(edge) for edge in np.unique(edges[np.isfinite(edges)]))


def _categories(texts: pa.Array) -> tuple[str, ...]:
    counted = texts.drop_null().value_counts().to_pylist()
    return tuple(text for _, text in sorted((-item["counts"], item["values"]) for item in counted)[:CATEGORIES])
