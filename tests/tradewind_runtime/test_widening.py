"""Types that become wider: of a table in the lake, and of sources whose rows change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import Retrying, retry_if_exception
from tests.tradewind_runtime.steprun import end_of, ingest, rows

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.widening import agreed, fit, widens

TYPES = [
    pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.date32(), pa.timestamp("us", "UTC"), pa.string(),
    pa.binary(), pa.bool_(), pa.decimal128(9, 2), pa.decimal128(12, 2), pa.decimal128(12, 4),
]  # fmt: skip
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**53), 2**53),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.date32(): st.dates(date(1, 1, 1), date(9999, 12, 31)),
    pa.decimal128(9, 2): st.decimals(-9_999_999, 9_999_999, places=2),
}  # fmt: skip


@given(st.data())
def test_what_widens_loses_nothing_and_never_both_ways(data: st.DataObject) -> None:
    kind, wider = data.draw(st.sampled_from(TYPES)), data.draw(st.sampled_from(TYPES))
    if not widens(kind, wider):
        return
    assert not widens(wider, kind)
    values = pa.array(data.draw(st.lists(st.none() | VALUES[kind])), kind)
    there = values.cast(wider)
    assert there.cast(kind, safe=not pa.types.is_date(kind)) == values


def test_neither_type_that_holds_the_other_is_refused() -> None:
    have = pa.schema([("n", pa.int64()), ("text", pa.string())])
    for kind in (pa.string(), pa.bool_(), pa.float32(), pa.date32()):
        with pytest.raises(StepError, match=r"TW519(.|\n)*column 'n' is int64 there and"):
            agreed(have, pa.schema([("n", kind)]), "p/t")


def written(table: Table, **columns: pa.Array) -> None:
    rows = pa.table(columns)
    schema = fit(table, rows.schema)
    table.commit(table.stage(rows.to_batches(), schema), schema=schema)


def test_a_table_is_widened_in_one_version(lake_uri: str) -> None:
    table = Lake(lake_uri).table("p/t")
    for n in range(3):
        written(
            table, n=pa.array([n, None], pa.int32()), day=pa.array([date(2013, 1, 1)] * 2), other=pa.array(["a", "b"])
        )
    table.commit([], schema=pa.schema([]), positions={"a": Advance(None, 7)})
    before = table.snapshot()
    wider = pa.schema([("n", pa.float64()), ("day", pa.timestamp("us", "UTC")), ("new", pa.string())])
    assert fit(table, wider) == wider
    after = table.snapshot()
    moment = datetime(2013, 1, 1, tzinfo=UTC)
    told = sorted(after.to_arrow().to_pylist(), key=lambda row: (row["n"] is None, row["n"], row["other"]))
    assert [(row["n"], row["day"], row["other"], row["new"]) for row in told] == [
        *((float(n), moment, "a", None) for n in range(3)), *[(None, moment, "b", None)] * 3,
    ]  # fmt: skip
    assert table.position("a") == 7
    assert len(after.files) == len(before.files) == 3
    assert not set(after.files) & set(before.files)
    assert table.snapshot(before.version).to_arrow().schema.field("n").type == pa.int32()
    assert table.version_with("widened", {"n": "double", "day": "timestamp[us, tz=UTC]"}) == after.version
    assert fit(table, wider) == wider
    assert table.version() == after.version, "there is nothing more to do"


def test_narrower_rows_are_written_by_the_tables_types(lake_uri: str) -> None:
    table = Lake(lake_uri).table("p/t")
    written(table, n=pa.array([0.5]))
    written(table, n=pa.array([1], pa.int32()))
    files = [pq.read_schema(file).field("n").type for file in table.snapshot().files if "://" not in file]
    assert set(files) <= {pa.float64()}
    assert sorted(table.snapshot().to_arrow()["n"].to_pylist()) == [0.5, 1.0]


def test_a_whole_number_that_a_double_cannot_hold_stays(lake_uri: str) -> None:
    table = Lake(lake_uri).table("p/t")
    written(table, n=pa.array([2**53 + 1]))
    before = table.version()
    with pytest.raises(StepError, match="TW519"):
        fit(table, pa.schema([("n", pa.float64())]))
    assert table.version() == before


def test_a_file_of_the_old_types_does_not_come_into_a_table_that_was_widened(lake_uri: str) -> None:
    table = Lake(lake_uri).table("p/t")
    rows = pa.table({"n": pa.array([1], pa.int32())})
    schema = fit(table, rows.schema)
    staged = table.stage(rows.to_batches(), schema)
    fit(table, pa.schema([("n", pa.int64())]))
    with pytest.raises(StepError, match="TW521") as caught:
        table.commit(staged, schema=schema)
    assert caught.value.retryable
    assert table.snapshot().count() == 0


def test_rows_that_come_meanwhile_are_widened_too(lake_uri: str) -> None:
    table = Lake(lake_uri).table("p/t")
    written(table, n=pa.array([0], pa.int32()))

    def append(n: int) -> None:
        for attempt in Retrying(retry=retry_if_exception(lambda error: getattr(error, "retryable", False))):
            with attempt:  # again where the table was widened after its file was staged
                written(table, n=pa.array([n], pa.int32()))

    with ThreadPoolExecutor(5) as pool:
        done = [pool.submit(append, n) for n in range(1, 9)]
        done.append(pool.submit(fit, table, pa.schema([("n", pa.int64())])))
        for one in done:
            one.result()
    found = table.snapshot().to_arrow()
    assert (found.schema.field("n").type, sorted(found["n"].to_pylist())) == (pa.int64(), list(range(9)))
    assert {pq.read_schema(file, table.filesystem).field("n").type for file in table.snapshot().files} == {pa.int64()}


@pytest.mark.parametrize("policy", ["add", None])
def test_a_parquet_source_whose_numbers_get_a_fraction(policy: str | None, tmp_path: Path, lake_uri: str) -> None:
    """By itself where the YAML leaves the columns to Tradewind; else by the YAML's new type."""
    folder = tmp_path / "landing"
    folder.mkdir()

    def taken_in(kind: str) -> None:
        body = {"objects": {"uri": f"{folder.as_uri()}/*.parquet"}, "max_bad": 0}
        body |= {"new_columns": policy} if policy else {"columns": {"n": kind}}
        source = Source.model_validate(body)
        ingest(lake_uri, source, end_of(lake_uri, source), run=kind)

    pq.write_table(pa.table({"n": pa.array([1, 2])}), folder / "1.parquet")
    taken_in("long")
    pq.write_table(pa.table({"n": pa.array([2.5])}), folder / "2.parquet")
    if policy is None:
        with pytest.raises(StepError, match="TW523"):
            taken_in("long")
    taken_in("double")
    assert sorted(row["n"] for row in rows(lake_uri)) == [1.0, 2.0, 2.5]
    pq.write_table(pa.table({"n": pa.array([3])}), folder / "3.parquet")
    taken_in("long")
    assert sorted(row["n"] for row in rows(lake_uri)) == [1.0, 2.0, 2.5, 3.0]


def test_decimals(lake_uri: str) -> None:
    table = Lake(lake_uri).table("p/t")
    written(table, price=pa.array([Decimal("1.50")], pa.decimal128(9, 2)))
    written(table, price=pa.array([Decimal("1.2345")], pa.decimal128(12, 4)))
    assert sorted(table.snapshot().to_arrow()["price"].to_pylist()) == [Decimal("1.2345"), Decimal("1.5000")]
