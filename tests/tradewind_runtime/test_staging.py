"""Files below a table: cut by day, found whatever they are called, and described with bounds that are right."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.tradewind_runtime.tables import SCHEMA, START, batches, numbers, span

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.lake import Lake


@pytest.fixture
def lake(lake_uri):
    return Lake(lake_uri)


def test_files_are_cut_by_utc_day_and_stay_readable(lake):
    table = lake.table("p/with space")
    files = table.stage(batches((0, 1), (23, 2), (24, 3), (None, 4)), SCHEMA, cut_by="time")
    table.commit(files, schema=SCHEMA)
    assert [name.rpartition("/")[2][:10] for name in sorted(f.path for f in files)][:2] == ["2013-01-01", "2013-01-02"]
    assert numbers(table) == [1, 2, 3, 4]
    assert table.snapshot().count(pc.field("time") >= START + timedelta(days=1)) == 1
    assert list(lake.tables()) == ["p/with space"]


@pytest.mark.parametrize("name", ["part-0 x", "part%20x", "pärt#1"])
def test_files_of_an_engine_are_taken_in_and_out(lake, name):
    table = lake.table("p/t")
    folder = table.staging("spark")
    assert table.staged(folder) == []
    table.filesystem.create_dir(folder)
    pq.write_table(pa.table({"time": [START], "n": [1]}, schema=SCHEMA), f"{folder}/{name}.parquet")
    (staged,) = table.staged(folder)
    table.commit([staged], schema=SCHEMA)
    assert numbers(table) == [1]
    table.commit([], schema=SCHEMA, replace=span(0, 1))
    assert numbers(table) == []


def test_statistics_hold_for_every_type(lake):
    """Bounds that reach the log prune files: a wrong one loses rows without a word."""
    from deltalake import DeltaTable

    nan = float("nan")
    odd = datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    rows = pa.table(
        {
            "t": pa.array([odd, START + timedelta(microseconds=1)], pa.timestamp("us", "UTC")),
            "d": pa.array([date(1, 1, 1), date(9999, 12, 31)]),
            "f": [nan, 1.5],
            "i": pa.array([-(2**63), 2**63 - 1]),
            "b": [True, False],
            "s": ["é" * 100, "a"],
            "x": [b"\xff", b""],
            "none": pa.array([None, None], pa.string()),
        }
    )
    table = lake.table("p/t")
    table.commit(table.stage(rows.to_batches(), rows.schema), schema=rows.schema)
    actions = pa.table(DeltaTable(table.uri).get_add_actions(flatten=True)).to_pylist()[0]
    assert actions["num_records"] == 2
    assert actions["null_count.none"] == 2
    assert (actions["min.t"], actions["max.t"]) == (odd, START + timedelta(microseconds=1))
    assert (actions["min.i"], actions["max.i"]) == (-(2**63), 2**63 - 1)
    assert actions.get("max.s") is None
    pandas = DeltaTable(table.uri).to_pyarrow_table(filters=[("t", ">", START)])
    assert pandas.num_rows == 1


@pytest.mark.parametrize(
    ("kind", "values", "shown"),
    [
        (pa.timestamp("us"), [0, 2**63 - 1], "9223372036854775807"),
        (pa.timestamp("us", "UTC"), [0, 884_541_340_800_000_000], "30000-01-01"),
        (pa.date32(), [-735_160, 0], "-0043-03-15"),
    ],
)
def test_a_time_that_python_has_not_is_told_by_its_column(lake, kind, values, shown):
    """As an engine may leave it that writes its own files."""
    table = lake.table("p/t")
    folder = table.staging("spark")
    table.filesystem.create_dir(folder)
    until = pa.array(values, pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)
    pq.write_table(pa.table({"n": [1, 2], "until": until}), f"{folder}/one.parquet")
    with pytest.raises(StepError, match=f"a time in 'until' beyond the years 1 to 9999: .*{shown}") as caught:
        table.staged(folder)
    assert (caught.value.problems[0].code, caught.value.retryable) == ("TW547", False)
