"""Rows that are older than a table keeps them go, and no others; whoever reads an older version notices nothing."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tradewind_runtime.tables import SCHEMA, START, batches, new_lake, numbers

from tradewind_runtime.compaction import between, still_there
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.replacing import But
from tradewind_runtime.retention import cuts, expire, older
from tradewind_runtime.snapshot import Snapshot

DATES = pa.schema([("day", pa.date32()), ("n", pa.int64())])
LOCAL = pa.schema([("time", pa.timestamp("us")), ("n", pa.int64())])
MOMENTS = st.integers(-50_000_000, 50_000_000).map(lambda us: START + timedelta(microseconds=us * 10_007))
FILES = st.lists(st.lists(st.none() | MOMENTS, min_size=1, max_size=6), min_size=1, max_size=5)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


@pytest.fixture
def table(lake_uri: str) -> Table:
    """Three files: of hours 0 to 1, 1 to 3 and 4, and one of no time."""
    found = Lake(lake_uri).table("p/t")
    for n, hours in enumerate([(0, 1), (1, 3), (4, 4), (None,)]):
        rows = batches(*((hour, 10 * n + place) for place, hour in enumerate(hours)))
        found.commit(found.stage(rows, SCHEMA), schema=SCHEMA, positions={"a": Advance(n or None, n + 1)})
    return found


def test_old_rows_go_in_one_commit_and_positions_stay(table: Table) -> None:
    before = table.snapshot()
    done = expire(table, "time", at(2))
    assert (done.rows, done.files, done.rewritten) == (3, 1, 1)
    assert numbers(table) == [11, 20, 21, 30]
    assert table.version() == before.version + 1
    assert table.position("a") == 4
    assert cuts(table) == {"time": at(2)}
    assert cuts(table, before.version) == {}
    assert table.history()[0].told["rows"] == -3
    assert numbers(table, before.version) == [0, 1, 10, 11, 20, 21, 30], "who is pinned to it still reads it"


def test_again_is_no_commit_and_what_comes_late_goes_the_next_time(table: Table) -> None:
    expire(table, "time", at(2))
    version = table.version()
    assert expire(table, "time", at(2)).rows == 0
    assert table.version() == version
    table.commit(table.stage(batches((0, 40), (9, 41)), SCHEMA), schema=SCHEMA)
    assert expire(table, "time", at(1)).rows == 1
    assert numbers(table) == [11, 20, 21, 30, 41]
    assert cuts(table) == {"time": at(2)}, "an earlier moment takes back nothing"


def test_a_file_whose_rows_are_all_old_is_not_read(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Snapshot, "dataset", unread)
    assert expire(table, "time", at(-1)).rows == 0
    with pytest.raises(AssertionError):
        expire(table, "time", at(0.5))
    table.commit([], schema=SCHEMA, replace="all")
    table.commit(table.stage(batches((0, 0), (1, 1)), SCHEMA), schema=SCHEMA)
    assert expire(table, "time", at(2)).files == 1


@settings(max_examples=60)
@given(FILES, MOMENTS)
def test_what_is_left_is_exactly_what_is_not_older(files: list[list[datetime | None]], cut: datetime) -> None:
    found = new_lake().table("p/t")
    left = []
    for number, times in enumerate(files):
        rows = pa.table({"time": times, "n": range(100 * number, 100 * number + len(times))}, schema=SCHEMA)
        found.commit(found.stage(rows.to_batches(), SCHEMA), schema=SCHEMA)
        left += [100 * number + place for place, time in enumerate(times) if time is None or time >= cut]
    done = expire(found, "time", cut)
    assert numbers(found) == left
    assert done.rows == sum(map(len, files)) - len(left)


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(-5, 5), min_size=1, max_size=4), min_size=1, max_size=3), st.integers(-130, 130))
def test_a_day_goes_when_all_of_it_is_old(files: list[list[int]], hours: int) -> None:
    found, cut = new_lake().table("p/t"), at(hours)
    days = [[START.date() + timedelta(days=day) for day in part] for part in files]
    for part in days:
        rows = pa.table({"day": part, "n": range(len(part))}, schema=DATES)
        found.commit(found.stage(rows.to_batches(), DATES), schema=DATES)
    expire(found, "day", cut)
    left = [day for part in days for day in part if day >= cut.date()]
    assert sorted(found.snapshot().to_arrow()["day"].to_pylist()) == sorted(left)


def test_a_time_without_a_zone_is_of_utc(lake_uri: str) -> None:
    found = Lake(lake_uri).table("p/t")
    times = [at(hour).replace(tzinfo=None) for hour in (0, 1, 2)]
    rows = pa.table({"time": times, "n": [0, 1, 2]}, schema=LOCAL)
    found.commit(found.stage(rows.to_batches(), LOCAL), schema=LOCAL)
    assert expire(found, "time", at(1)).rows == 1
    assert numbers(found) == [1, 2]


def test_a_column_that_came_later_says_nothing_of_rows_before_it(table: Table) -> None:
    wider = pa.schema([*SCHEMA, ("seen", pa.date32())])
    rows = pa.table({"time": [at(0)], "n": [50], "seen": [date(2000, 1, 1)]}, schema=wider)
    table.commit(table.stage(rows.to_batches(), wider), schema=wider)
    assert expire(table, "seen", at(0)).rows == 1
    assert numbers(table) == [0, 1, 10, 11, 20, 21, 30]
    expire(table, "time", at(2))
    assert cuts(table) == {"time": at(2), "seen": at(0)}


@pytest.mark.parametrize(("column", "near"), [("tmie", "time"), ("n", None)])
def test_a_column_that_is_none_of_times(table: Table, column: str, near: str | None) -> None:
    version = table.version()
    with pytest.raises(StepError, match="TW534") as caught:
        expire(table, column, at(2))
    assert caught.value.problems[0].suggestion == near
    assert not caught.value.retryable
    assert table.version() == version


def test_what_was_seen_before_is_still_told_from_what_is_new(table: Table) -> None:
    seen = table.snapshot()
    table.commit(table.stage(batches((0, 60), (7, 61)), SCHEMA), schema=SCHEMA)
    expire(table, "time", at(2))
    now = table.snapshot()
    new = set(now.files) - still_there(table, seen.files, between(table, seen.version, now.version))
    assert _numbers(table, now.version, new) == [61]


def _numbers(table: Table, version: int, files: set[str]) -> list[int]:
    snapshot = table.snapshot(version)
    return sorted(Snapshot(table, version, tuple(files), snapshot.schema).to_arrow()["n"].to_pylist())


def test_rows_that_their_origin_keeps_no_longer_stay_where_all_others_give_way(table: Table) -> None:
    stay = older({"time": at(2)}, SCHEMA)
    table.commit(table.stage(batches((8, 80)), SCHEMA), schema=SCHEMA, replace=But(stay))
    assert numbers(table) == [0, 1, 10, 80]
    assert table.snapshot().count(pc.field("n") < 80) == 3
