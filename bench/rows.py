"""What the data layer is measured with: rows of ten columns of the usual types, with a fixed seed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("at", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
        ("carrier", pa.string()),
        ("origin", pa.string()),
        ("flight", pa.int32()),
        ("delay", pa.float64()),  # some are null
        ("distance", pa.float64()),
        ("late", pa.bool_()),
        ("note", pa.string()),
    ]
)
#: The same as a YAML has them.
COLUMNS = {
    "id": "long", "at": "timestamp", "day": "date", "carrier": "string", "origin": "string", "flight": "integer",
    "delay": "double", "distance": "double", "late": "boolean", "note": "string",
}  # fmt: skip
CARRIERS = ("UA", "AA", "DL", "B6", "EV", "MQ", "US", "WN")
ORIGINS = ("JFK", "LGA", "EWR")
BATCH = 100_000
DIFFERENT = 5  # batches: rows after them have other ids and times, and the same of all else
FIRST = 1_357_000_000_000_000  # microseconds since 1970, of the first row; a second lies between two


def batches(rows: int, first: int = 0) -> Iterator[pa.RecordBatch]:
    """So many rows, from one on: a row's number says all of it."""
    at, end = first, first + rows
    while at < end:
        size = min(BATCH - at % BATCH, end - at)
        yield _numbered(_kind(at // BATCH % DIFFERENT).slice(at % BATCH, size), at)
        at += size


@cache
def _kind(seed: int) -> pa.RecordBatch:
    """Its columns without id, time and day."""
    rng = np.random.default_rng(seed)
    letters = rng.integers(97, 123, (BATCH, 24), dtype=np.uint8).view("S24").ravel()
    delays = np.round(rng.gamma(2, 15, BATCH) - 20, 1)
    return pa.record_batch(
        {
            "carrier": pa.array(CARRIERS).take(pa.array(rng.integers(0, len(CARRIERS), BATCH))),
            "origin": pa.array(ORIGINS).take(pa.array(rng.integers(0, len(ORIGINS), BATCH))),
            "flight": pa.array(rng.integers(1, 6_000, BATCH), pa.int32()),
            "delay": pa.array(delays, mask=rng.random(BATCH) < 0.02),
            "distance": pa.array(rng.integers(80, 5_000, BATCH).astype(float)),
            "late": pa.array(delays > 15),
            "note": pa.array(letters.astype(str)),
        }
    )


def _numbered(kind: pa.RecordBatch, start: int) -> pa.RecordBatch:
    ids = np.arange(start, start + kind.num_rows)
    at = pa.array(FIRST + ids * 1_000_000).cast(SCHEMA.field("at").type)
    day = pc.cast(at, pa.date32(), safe=False)
    return pa.RecordBatch.from_arrays([pa.array(ids), at, day, *kind.columns], schema=SCHEMA)
