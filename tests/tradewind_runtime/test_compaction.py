"""Small files that are put together: no row changes, and nobody who reads or checks notices."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tradewind_runtime.tables import SCHEMA, batches, numbers, span

from tradewind_runtime import compaction, lake
from tradewind_runtime.compaction import LARGE, SMALL, between, compact, small_ones, still_there
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.staging import DAY, cut_of, write_files

DAYS = ["2013-01-01", "2013-01-02", "part"]
SIZES = st.dictionaries(
    st.tuples(st.sampled_from(DAYS), st.integers(0, 9_999)).map(lambda one: f"t/data/x/{one[0]}-{one[1]:05d}.parquet"),
    st.integers(1, 2 * SMALL), max_size=30,
)  # fmt: skip


@given(SIZES)
def test_groups_are_of_one_day_and_no_larger_than_allowed(sizes: dict[str, int]) -> None:
    groups = list(small_ones(sizes))
    grouped = [path for group in groups for path in group]
    assert len(grouped) == len(set(grouped))
    for group in groups:
        assert len(group) > 1
        assert len({cut_of(path) for path in group}) == 1
        assert sum(sizes[path] for path in group) <= LARGE
        assert all(sizes[path] < SMALL for path in group)
    for day in DAYS:
        alone = [size for path, size in sizes.items() if cut_of(path) == day and size < SMALL and path not in grouped]
        assert len(alone) <= 1 + sum(sizes.values()) // (LARGE - SMALL)


def unchanged(table: Table, seen: Snapshot, now: Snapshot) -> set[str]:
    return still_there(table, seen.files, between(table, seen.version, now.version))


@pytest.fixture
def table(lake_uri: str) -> Table:
    """Ten commits, each of a row on each of two days."""
    found = Lake(lake_uri).table("p/t")
    for n in range(10):
        rows = batches((0, 2 * n), (24, 2 * n + 1))
        found.commit(
            found.stage(rows, SCHEMA, cut_by="time"), schema=SCHEMA, positions={"a": Advance(n or None, n + 1)}
        )
    return found


def test_each_day_is_one_file_and_no_row_has_changed(table: Table) -> None:
    before = table.snapshot()
    assert compact(table, before.version) == len(before.files) == 20
    after = table.snapshot()
    assert {cut_of(path) for path in after.files} == {cut_of(path) for path in before.files}
    assert len(after.files) == 2
    assert numbers(table) == list(range(20))
    assert table.position("a") == 10
    assert sorted(before.to_arrow()["n"].to_pylist()) == list(range(20)), "who is pinned to it still reads it"
    assert unchanged(table, before, after) == set(after.files)


def test_doing_it_again_changes_nothing(table: Table) -> None:
    compact(table, table.snapshot().version)
    version = table.version()
    assert compact(table, table.snapshot().version) == 0
    assert table.version() == version


def test_files_that_a_version_has_not_stay_alone(table: Table) -> None:
    seen = table.snapshot()
    table.commit(table.stage(batches((0, 20)), SCHEMA, cut_by="time"), schema=SCHEMA)
    new = set(table.snapshot().files) - set(seen.files)
    compact(table, seen.version)
    assert new < set(table.snapshot().files)
    assert len(table.snapshot().files) == 3
    assert set(table.snapshot().files) - unchanged(table, seen, table.snapshot()) == new


def test_twice_put_together_is_still_told_from_what_is_new(table: Table) -> None:
    first = table.snapshot()
    compact(table, first.version)
    table.commit(table.stage(batches((0, 20)), SCHEMA, cut_by="time"), schema=SCHEMA)
    second = table.snapshot()
    compact(table, second.version)
    assert len(table.snapshot().files) == 2
    now = table.snapshot()
    assert unchanged(table, second, now) == set(now.files)


def test_rows_that_were_put_together_with_new_ones_are_not_taken_for_old(table: Table) -> None:
    """Whoever does so, as another program: then all are checked again, and none is passed over."""
    seen = table.snapshot()
    table.commit(table.stage(batches((0, 20)), SCHEMA, cut_by="time"), schema=SCHEMA)
    compact(table, table.snapshot().version)
    now = table.snapshot()
    assert {cut_of(path) for path in set(now.files) - unchanged(table, seen, now)} == {"2013-01-01"}


def test_what_was_put_together_before_a_kill_stays_so(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "AT_ONCE", 1)
    before, written = table.snapshot(), []

    def killed(*args: Any, **more: Any) -> list[str]:
        written.append(write_files(*args, **more))
        if len(written) == 2:
            raise SystemExit
        return written[-1]

    monkeypatch.setattr(lake, "write_files", killed)
    with pytest.raises(SystemExit):
        compact(table, before.version)
    assert len(table.snapshot().files) == 11, "of one day all are one file"
    assert compact(table, before.version) == 10, "the other day's, and no more"
    assert len(table.snapshot().files) == 2
    assert numbers(table) == list(range(20))
    assert unchanged(table, before, table.snapshot()) == set(table.snapshot().files)


def test_of_many_columns_only_the_bounds_that_are_asked_for_come_into_python(table: Table) -> None:
    of_none, of_one = table.entries_of(10), table.entries_of(10, "n")
    assert {name for row in of_none.values() for name in row} == {"path", "size_bytes", "num_records"}
    assert {name for row in of_one.values() for name in row} - {"path", "size_bytes", "num_records"} == {
        "min.n", "max.n", "null_count.n",
    }  # fmt: skip


def dates(files: Iterable[str]) -> list[set[date]]:
    """Of each file's rows."""
    return sorted(({time.date() for time in pq.read_table(file)["time"].to_pylist()} for file in files), key=min)


def by_spark(table: Table, *rows: tuple[int, int]) -> None:
    """Hours and numbers of one day, committed as Spark leaves them: in a folder that tells the day."""
    (batch,) = batches(*rows)
    folder = f"{table.staging()}/{DAY}={batch['time'][0].as_py().date()}"
    table.filesystem.create_dir(folder, recursive=True)
    name = "part-00000-31cb9ab1-7ca8-4b5b-9a3c-4c0ad0d4c2a0.c000.snappy.parquet"
    pq.write_table(pa.Table.from_batches([batch]), f"{folder}/{name}")
    table.commit(table.staged(folder), schema=SCHEMA)


def test_days_that_spark_wrote_stay_apart_however_often(lake_uri: str) -> None:
    table = Lake(lake_uri).table("p/t")
    days = [{date(2013, 1, 1)}, {date(2013, 1, 2)}]
    for n in range(3):
        by_spark(table, (0, 10 * n), (1, 10 * n + 1))
        by_spark(table, (24, 10 * n + 2))
    assert compact(table, table.snapshot().version) == 6
    assert dates(table.snapshot().files) == days
    assert sorted(cut_of(path) for path in table.snapshot().files) == ["2013-01-01", "2013-01-02"]
    by_spark(table, (2, 30))
    table.commit(table.stage(batches((25, 31)), SCHEMA, cut_by="time"), schema=SCHEMA)
    assert compact(table, table.snapshot().version) == 4, "those of before, of Spark and of another engine"
    assert dates(table.snapshot().files) == days
    assert numbers(table) == [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31]


def test_a_file_that_was_cut_by_spark_is_replaced_in_part_as_one_of_its_day(lake_uri: str) -> None:
    table = Lake(lake_uri).table("p/t")
    by_spark(table, (0, 1), (5, 2))
    table.commit([], schema=SCHEMA, replace=span(0, 1))
    assert [cut_of(path) for path in table.snapshot().files] == ["2013-01-01"]
    assert numbers(table) == [2]


@pytest.mark.parametrize(("path", "cut"), [
    ("t/data/x/2013-01-01-00000.parquet", "2013-01-01"),
    ("t/data/x/tradewind_day=2013-01-01/part-00000-a.c000.snappy.parquet", "2013-01-01"),
    ("t/data/x/tradewind_day=__HIVE_DEFAULT_PARTITION__/part-00000-a.c000.snappy.parquet", "part"),
    ("t/data/x/part-00000.parquet", "part"),
    ("tradewind_day=2013-01-01/data/x/part-00000.parquet", "part"),
])  # fmt: skip
def test_the_day_of_a_file_is_its_name_or_its_folder(path: str, cut: str) -> None:
    assert cut_of(path) == cut
