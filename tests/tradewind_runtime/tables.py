"""Small tables of hours and numbers, for the tests of the lake."""

import tempfile
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from tradewind_runtime.lake import Lake
from tradewind_runtime.replacing import Replace

SCHEMA = pa.schema([("time", pa.timestamp("us", "UTC")), ("n", pa.int64())])
START = datetime(2013, 1, 1, tzinfo=UTC)


def batches(*hours_and_numbers):
    rows = {
        "time": [h if h is None else START + timedelta(hours=h) for h, _ in hours_and_numbers],
        "n": [n for _, n in hours_and_numbers],
    }
    return pa.table(rows, schema=SCHEMA).to_batches()


def numbers(table, version=None):
    return sorted(table.snapshot(version).to_arrow()["n"].to_pylist())


def new_lake():
    return Lake("file://" + tempfile.mkdtemp(prefix="tradewind-test-"))


def span(first, last):
    return Replace("time", START + timedelta(hours=first), START + timedelta(hours=last))
