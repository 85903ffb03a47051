"""Which rows of a table are for training, validation and test: by time, or by a hash of their content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.split import RandomSplit, Split
from tradewind_runtime.snapshot import Snapshot

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


def rows(
    snapshot: Snapshot, split: Split, window: Window | None, part: Part, columns: Sequence[str] | None = None
) -> pa.Table:
    """The rows of one part, in memory.

    Raises:
        StepError: TW548 where the part is empty, with the count of each part.
    """
    found = pa.Table.from_batches(
        batches(snapshot, split, window, part, columns),
        pa.schema([snapshot.schema.field(name) for name in columns]) if columns else snapshot.schema,
    )
    if found.num_rows == 0:
        have = counts(snapshot, split, window)
        raise StepError(
            "TW548",
            f"no row of {snapshot.table.name!r} is for {part}",
            retryable=False,
            got=", ".join(f"{name}: {count}" for name, count in have.items()),
            expected="at least one row of train, valid and test each",
            fix=_fix(split, window),
        )
    return found


def batches(
    snapshot: Snapshot, split: Split, window: Window | None, part: Part, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of one part, streamed; none where the part is empty."""
    if split.time is not None:
        where = condition(snapshot.schema, split, window, part)
        yield from snapshot.dataset().to_batches(columns=list(columns) if columns else None, filter=where)
        return
    chosen = split.random or RandomSplit()
    for batch in snapshot.dataset().to_batches():
        kept = batch.filter(pa.array(_parts(batch, chosen) == PARTS.index(part)))
        yield kept.select(list(columns)) if columns else kept


def counts(snapshot: Snapshot, split: Split, window: Window | None) -> dict[str, int]:
    """Rows of each part, and of none (outside of all spans, or with no time)."""
    if split.time is None:
        chosen = split.random or RandomSplit()
        total = np.zeros(len(PARTS), dtype=np.int64)
        for batch in snapshot.dataset().to_batches():
            total += np.bincount(_parts(batch, chosen), minlength=len(PARTS))
        return {part: int(count) for part, count in zip(PARTS, total, strict=True)} | {"none": 0}
    have = {part: snapshot.count(condition(snapshot.schema, split, window, part)) for part in PARTS}
    return have | {"none": snapshot.count() - sum(have.values())}


def condition(schema: pa.Schema, split: Split, window: Window | None, part: Part) -> pc.Expression:
    """The filter of one part of a split by time.

    Raises:
        StepError: TW548 where there is no such column, or it holds no time, or the run has no window.
    """
    assert split.time is not None, "a random split has no filter"
    spans = split.bounds(window) if window else None
    if spans is None:
        raise StepError("TW548", "a split by time needs the run's window", retryable=False, fix="run with a window")
    kind = schema.field(split.time).type if split.time in schema.names else None
    if kind is None or not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise StepError(
            "TW548",
            f"split.time: the table has no column {split.time!r} of times",
            retryable=False,
            path="split.time",
            got=schema.names if kind is None else str(kind),
            expected="a timestamp or a date",
        )
    column, span = pc.field(split.time), spans[part]
    if not (pa.types.is_timestamp(kind) and kind.tz):  # without a zone, it is UTC
        column = column.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    low, high = (pa.scalar(at, pa.timestamp("us", "UTC")) for at in (span.start, span.end))
    return (column >= low) & (column < high)


def _parts(batch: pa.RecordBatch, split: RandomSplit) -> npt.NDArray[np.int64]:
    """0, 1 or 2 (train, valid, test) for each row.

    A row's content decides, so the order of rows and files does not matter, and equal rows are never
    on both sides. Provenance (`_…`) is no content: rows that were ingested again stay where they were.
    """
    mixed = np.full(batch.num_rows, np.uint64(split.seed % 2**64))
    for name in sorted(name for name in batch.schema.names if not name.startswith("_")):
        mixed = _scramble(mixed ^ _hashes(batch.column(name)))
    share = (mixed >> np.uint64(11)).astype(np.float64) / 2**53
    return np.digitize(share, [1 - split.valid - split.test, 1 - split.test]).astype(np.int64)


def _hashes(column: pa.Array) -> npt.NDArray[np.uint64]:
    """A hash of each value; that of a null does not depend on the other rows of the batch."""
    kind = column.type
    if pa.types.is_floating(kind):
        values = column.cast(pa.float64()).fill_null(float("nan")).to_numpy(zero_copy_only=False)
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        values = column.cast(pa.int64(), safe=False).fill_null(-(2**63)).to_numpy(zero_copy_only=False)
    elif pa.types.is_timestamp(kind):
        values = column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()).fill_null(-(2**63)).to_numpy()
    elif pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        values = np.array([repr(value) for value in column.to_pylist()], dtype=object)
    else:
        values = column.cast(pa.string()).fill_null("\0").to_numpy(zero_copy_only=False)
    return np.asarray(pd.util.hash_array(values), dtype=np.uint64)


def _scramble(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64: each bit of the input moves half of the output's."""
    with np.errstate(over="ignore"):
        value = (value + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _fix(split: Split, window: Window | None) -> str:
    if split.time is None:
        return "give the split a larger share, or the table more rows"
    assert window is not None
    spans = split.bounds(window) or {}
    return "rows are needed in " + ", ".join(
        f"{part} [{span.start:%Y-%m-%d %H:%M}, {span.end:%Y-%m-%d %H:%M})" for part, span in spans.items()
    )
