"""Windows are replaced without harm to their neighbours."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tradewind_runtime.tables import SCHEMA, START, batches, new_lake, numbers, span

from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake
from tradewind_runtime.replacing import Replace

hours = st.integers(0, 71)
commits = st.lists(st.tuples(hours, hours, st.lists(hours, max_size=4), st.booleans()), min_size=1, max_size=5)


@pytest.fixture
def lake(lake_uri):
    return Lake(lake_uri)


@settings(max_examples=30)
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


@settings(max_examples=30)
@given(st.lists(hours, max_size=12), st.lists(st.tuples(hours, hours), min_size=1, max_size=8))
def test_many_spans_at_once_are_as_if_one_by_one(first, bounds):
    table, bounds = new_lake().table("p/t"), [(min(pair), max(pair)) for pair in bounds]
    table.commit(table.stage(batches(*((hour, hour) for hour in first)), SCHEMA), schema=SCHEMA)
    table.commit([], schema=SCHEMA, replace=[span(*pair) for pair in bounds])
    assert numbers(table) == sorted(hour for hour in first if not any(low <= hour < high for low, high in bounds))


def test_ten_thousand_spans(lake):
    """Which nothing joins: Arrow went as deep as there were, and died of it."""
    table = lake.table("p/t")
    hours = (0, 1, 2, 3, 10_000, 15_001)
    table.commit(table.stage(batches(*((hour, hour) for hour in hours)), SCHEMA), schema=SCHEMA)
    table.commit([], schema=SCHEMA, replace=[span(hour, hour + 1) for hour in range(2, 20_002, 2)])
    assert numbers(table) == [0, 1, 3, 15_001]


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
