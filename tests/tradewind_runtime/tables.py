"""Small tables of hours and numbers, for the tests of the lake."""

import tempfile
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from tradewind_runtime import quarantine
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.replacing import Replace

SCHEMA = pa.schema([("time", pa.timestamp("us", "UTC")), ("n", pa.int64())])
ORIGIN = pa.schema([("_source", pa.string()), ("_position", pa.int64())])
START = datetime(2013, 1, 1, tzinfo=UTC)
_LAKES = tempfile.TemporaryDirectory(prefix="tradewind-test-")  # gone with the process


def batches(*hours_and_numbers):
    rows = {
        "time": [h if h is None else START + timedelta(hours=h) for h, _ in hours_and_numbers],
        "n": [n for _, n in hours_and_numbers],
    }
    return pa.table(rows, schema=SCHEMA).to_batches()


def numbers(table, version=None):
    return sorted(table.snapshot(version).to_arrow()["n"].to_pylist())


def new_lake():
    return Lake("file://" + tempfile.mkdtemp(dir=_LAKES.name))


def span(first, last):
    return Replace("time", START + timedelta(hours=first), START + timedelta(hours=last))


def ingested(lake, source, positions, *, name="p/t", committed=None, before=None, refused=(), stage="ingest"):
    """Rows and refused rows at these positions; of Kafka where something is committed."""
    table, bad = lake.table(f"{name}_raw"), lake.table(f"{name}_quarantine")
    rows = pa.table({"_source": [source] * len(positions), "_position": list(positions)}, schema=ORIGIN)
    topic, _, partition = source.rpartition("-")
    moves = {} if committed is None else {f"kafka:{topic}:{partition}": Advance(before, committed)}
    table.commit(table.stage(rows.to_batches(), ORIGIN), schema=ORIGIN, positions=moves)
    no = quarantine.to_arrow([Bad(source, at, "no", b"") for at in refused], stage)
    bad.commit(bad.stage(no.to_batches(), quarantine.SCHEMA), schema=quarantine.SCHEMA)
