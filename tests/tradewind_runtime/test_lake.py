"""The one committer: each row once, whoever else commits, and windows replaced without harm to their neighbours."""

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.lake import Advance, Lake, PositionsMovedError, Replace

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


@pytest.fixture
def lake(lake_uri):
    return Lake(lake_uri)


def new_lake():
    return Lake("file://" + tempfile.mkdtemp(prefix="tradewind-test-"))


def span(first, last):
    return Replace("time", START + timedelta(hours=first), START + timedelta(hours=last))


# Positions -----------------------------------------------------------------------------------


def test_the_same_commit_again_adds_nothing(lake):
    table = lake.table("p/t")
    files = table.stage(batches((0, 1)), SCHEMA)
    version = table.commit(files, schema=SCHEMA, positions={"a": Advance(None, 5)})
    assert (
        table.commit(table.stage(batches((0, 1)), SCHEMA), schema=SCHEMA, positions={"a": Advance(None, 5)}) == version
    )
    assert numbers(table) == [1]
    assert table.position("a") == 5
    assert table.positions(["a", "b"]) == {"a": 5, "b": None}


def test_positions_that_moved_are_told(lake):
    table = lake.table("p/t")
    table.commit([], schema=SCHEMA, positions={"a": Advance(None, 5), "b": Advance(None, 1)})
    for wrong in ({"a": Advance(None, 6)}, {"a": Advance(4, 6)}, {"a": Advance(5, 6), "b": Advance(None, 2)}):
        with pytest.raises(PositionsMovedError):
            table.commit(table.stage(batches((0, 1)), SCHEMA), schema=SCHEMA, positions=wrong)
    assert numbers(table) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.booleans()), max_size=12))
def test_any_interleaving_of_writers_gives_each_row_once(steps):
    """Three writers copy the same log; each stages from what it last knew, and some try their last commit again."""
    table, known = new_lake().table("p/t"), {0: None, 1: None, 2: None}
    for writer, count, again in steps:
        start = known[writer] or 0
        rows = batches(*((n, n) for n in range(start, start + count)))
        move = {"log": Advance(known[writer], start + count)}
        try:
            for _ in range(2 if again else 1):
                table.commit(table.stage(rows, SCHEMA), schema=SCHEMA, positions=move)
            known[writer] = start + count
        except PositionsMovedError:
            known[writer] = table.position("log")
    if table.exists():
        assert numbers(table) == list(range(table.position("log") or 0))


def test_rivals_on_threads_give_each_row_once(lake):
    table, errors = lake.table("p/t"), []

    def copy():
        try:
            while (at := table.position("log") or 0) < 12:
                try:
                    files = table.stage(batches((at, at)), SCHEMA)
                    table.commit(files, schema=SCHEMA, positions={"log": Advance(at or None, at + 1)})
                except PositionsMovedError:
                    continue
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=copy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert numbers(table) == list(range(12))


def test_appends_without_positions_do_not_lose_each_other(lake):
    for name in range(8):  # their first commits race too
        table = lake.table(f"p/{name}")

        def append(n, table=table):
            table.commit(table.stage(batches((n, n)), SCHEMA), schema=SCHEMA)

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(append, range(6)))
        assert numbers(table) == list(range(6))


def test_columns_added_at_once_are_all_there(lake):
    for name in range(8):
        table = lake.table(f"p/{name}")
        table.create(SCHEMA)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda n, table=table: table.add_columns([pa.field(f"c{n}", pa.int64())]), range(6)))
        assert set(table.snapshot().schema.names) == {*SCHEMA.names, *(f"c{n}" for n in range(6))}


# Replacing -----------------------------------------------------------------------------------

hours = st.integers(0, 71)
commits = st.lists(st.tuples(hours, hours, st.lists(hours, max_size=4), st.booleans()), min_size=1, max_size=5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(hours, st.none()), max_size=12), commits)
def test_replacing_spans_is_as_if_rows_were_picked_one_by_one(first, replaces):
    table = new_lake().table("p/t")
    model = [(hour, -1) for hour in first]
    table.commit(table.stage(batches(*model), SCHEMA), schema=SCHEMA)
    history = [sorted(n for _, n in model)]
    for number, (one, other, given_hours, cut) in enumerate(replaces):
        low, high = min(one, other), max(one, other) + 1
        rows = [(hour, number) for hour in given_hours if low <= hour < high]
        version = table.commit(
            table.stage(batches(*rows), SCHEMA, cut_by="time" if cut else None),
            schema=SCHEMA,
            replace=span(low, high),
            positions={f"step:{number}": Advance(None, 1)},
        )
        model = [(hour, n) for hour, n in model if hour is None or not low <= hour < high] + rows
        history.append(sorted(n for _, n in model))
        assert numbers(table, version) == history[-1]
    found = table.snapshot().to_arrow()
    hours_of = [-1 if time is None else int((time - START) / timedelta(hours=1)) for time in found["time"].to_pylist()]
    assert sorted(zip(hours_of, found["n"].to_pylist(), strict=True)) == sorted(
        (-1 if hour is None else hour, n) for hour, n in model
    )


def test_a_span_beyond_all_files_touches_none_of_them(lake):
    table = lake.table("p/t")
    table.commit(table.stage(batches((1, 1), (30, 2)), SCHEMA), schema=SCHEMA)
    before = table.snapshot().files
    table.commit(table.stage(batches((10, 3)), SCHEMA), schema=SCHEMA, replace=span(5, 20))
    assert set(before) < set(table.snapshot().files), "no row of the file lies in the span"
    assert numbers(table) == [1, 2, 3]


def test_all_can_give_way(lake):
    table = lake.table("p/t")
    table.commit(table.stage(batches((1, 1)), SCHEMA), schema=SCHEMA)
    version = table.commit(table.stage(batches((1, 2)), SCHEMA), schema=SCHEMA, replace="all")
    assert numbers(table) == [2]
    assert numbers(table, version - 1) == [1]


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")])
def test_spans_of_other_columns(lake, kind):
    table, schema = lake.table("p/t"), pa.schema([("time", kind), ("n", pa.int64())])
    days = [
        date(2013, 1, n) if pa.types.is_date(kind) else datetime(2013, 1, n, tzinfo=kind.tz and UTC) for n in (1, 2, 3)
    ]
    table.commit(
        table.stage(pa.table({"time": days, "n": [1, 2, 3]}, schema=schema).to_batches(), schema), schema=schema
    )
    table.commit([], schema=schema, replace=Replace("time", START + timedelta(days=1), START + timedelta(days=2)))
    assert numbers(table) == [1, 3]


# Files ---------------------------------------------------------------------------------------


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


def test_new_columns_are_null_in_older_rows(lake):
    table = lake.table("p/t")
    table.commit(table.stage(batches((0, 1)), SCHEMA), schema=SCHEMA)
    wider = SCHEMA.append(pa.field("gate", pa.string()))
    rows = pa.table({"time": [START], "n": [2], "gate": ["A"]}, schema=wider).to_batches()
    table.commit(table.stage(rows, wider), schema=wider)
    table.commit(table.stage(batches((0, 3)), SCHEMA), schema=SCHEMA)
    found = table.snapshot().to_arrow()
    assert dict(zip(found["n"].to_pylist(), found["gate"].to_pylist(), strict=True)) == {1: None, 2: "A", 3: None}


def test_a_table_that_is_not_there_says_so(lake):
    assert lake.table("p/t").version() is None
    assert lake.table("p/t").position("a") is None
    assert not lake.table("p/t").exists()
    with pytest.raises(StepError, match="TW520"):
        lake.table("p/t").snapshot()


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


def test_history_keeps_what_a_commit_was_given(lake):
    table = lake.table("p/t")
    table.commit([], schema=SCHEMA, positions={"a": Advance(None, 1)}, metadata={"run_id": "r1"})
    version = table.commit([], schema=SCHEMA, positions={"a": Advance(1, 2)}, metadata={"run_id": "r2"})
    assert table.version_with("run_id", "r2") == version
    assert table.version_with("run_id", "r3") is None
