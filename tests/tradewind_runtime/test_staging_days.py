"""Rows of many days: each day's in files of its own, of which few are open, with memory for few rows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tradewind_runtime.tables import SCHEMA, START

from tradewind_runtime import staging
from tradewind_runtime.staging import by_day, cut_of, write_files

LOCAL = pafs.LocalFileSystem()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.none() | st.floats(-2, 2).map(lambda days: EPOCH + timedelta(days=days))
DAYS = 500


def rows(days: list[int | None], first: int = 0) -> pa.RecordBatch:
    """A row on each of these days."""
    time = [None if day is None else START + timedelta(days=day) for day in days]
    return pa.record_batch({"time": time, "n": list(range(first, first + len(days)))}, SCHEMA)


def mixed(count: int, each: int, days: int = DAYS) -> Iterator[pa.RecordBatch]:
    """Batches in none of the days' order, one of which is none; 7919 is prime."""
    for at in range(count):
        yield rows([(at * each + row) * 7919 % days or None for row in range(each)], at * each)


def read(paths: list[str]) -> dict[str, list[int]]:
    """Numbers of each day, where each file has rows of no other."""
    found: dict[str, list[int]] = {}
    for path in paths:
        table = pq.read_table(path)
        assert {named(time) for time in table["time"].to_pylist()} == {cut_of(path)}
        found.setdefault(cut_of(path), []).extend(table["n"].to_pylist())
    return found


def expected(batches: Iterator[pa.RecordBatch]) -> dict[str, list[int]]:
    """The same, in the order in which they come."""
    found: dict[str, list[int]] = {}
    for row in (row for batch in batches for row in batch.to_pylist()):
        found.setdefault(named(row["time"]), []).append(row["n"])
    return found


def named(time: datetime | None) -> str:
    return str(time.date()) if time else "part"


class Writers:
    """How many are open, and how many there were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = self.most = self.made = 0
        seen = self

        class Seen(pq.ParquetWriter):  # type: ignore[misc]
            def __init__(self, *given: Any, **more: Any) -> None:
                super().__init__(*given, **more)
                seen.open, seen.made = seen.open + 1, seen.made + 1
                seen.most = max(seen.most, seen.open)

            def close(self) -> None:
                seen.open -= self.is_open
                super().close()

        monkeypatch.setattr(pq, "ParquetWriter", Seen)


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> Writers:
    return Writers(monkeypatch)


FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from tests.tradewind_runtime.test_staging_days import LOCAL, SCHEMA, mixed, write_files
print(*write_files(LOCAL, sys.argv[1], mixed(4, 1000), SCHEMA, "time"), sep="\\n")
"""


def test_a_process_that_may_open_few_files_writes_many_days(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FEW_FILES, tmp_path], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    paths = done.stdout.split()
    assert len(paths) == len(set(paths)) == DAYS, "all rows fit in memory, so each day is one file"
    assert read(paths) == expected(mixed(4, 1000))


def test_of_more_rows_than_are_held_a_day_has_more_files(
    tmp_path: Path, writers: Writers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "HELD", 32_000)  # two batches, each of every day
    paths = write_files(LOCAL, str(tmp_path), mixed(8, 1000, 100), SCHEMA, "time")
    assert 100 + 3 * (100 - staging.OPEN) == len(paths) == len(set(paths)) == writers.made, "none is closed needlessly"
    assert (writers.open, writers.most) == (0, staging.OPEN)
    assert read(paths) == expected(mixed(8, 1000, 100))


def test_days_in_their_order_are_a_file_each(tmp_path: Path, writers: Writers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "HELD", 6_000)
    given = [rows([(at * 100 + row) // 30 for row in range(100)], at * 100) for at in range(60)]
    paths = write_files(LOCAL, str(tmp_path), given, SCHEMA, "time")
    assert [cut_of(path) for path in paths] == [str((START + timedelta(days=day)).date()) for day in range(200)]
    assert writers.most == staging.OPEN
    assert [n for path in paths for n in pq.read_table(path)["n"].to_pylist()] == list(range(6_000))


def test_few_days_are_a_file_each_however_they_come_and_are_not_held(tmp_path: Path, writers: Writers) -> None:
    made = []

    def noted() -> Iterator[pa.RecordBatch]:
        for batch in mixed(3, 1000, staging.OPEN):
            yield batch
            made.append(writers.made)

    paths = write_files(LOCAL, str(tmp_path), noted(), SCHEMA, "time")
    assert made == [staging.OPEN] * 3 == [len(paths)] * 3
    assert read(paths) == expected(mixed(3, 1000, staging.OPEN))


def test_memory_holds_few_rows_of_many_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "HELD", 1 << 20)
    most = 0
    before = pa.total_allocated_bytes()

    def measured() -> Iterator[pa.RecordBatch]:
        nonlocal most
        for batch in mixed(40, 10_000, 100):  # 160 kB each
            most = max(most, pa.total_allocated_bytes() - before)
            yield batch

    write_files(LOCAL, str(tmp_path), measured(), SCHEMA, "time")
    assert most < 4 << 20


def test_what_fails_leaves_no_file_open(tmp_path: Path, writers: Writers) -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield rows([1, 2])
        yield from mixed(1, 1000)
        raise ValueError("the source is away")

    with pytest.raises(ValueError, match="away"):
        write_files(LOCAL, str(tmp_path), failing(), SCHEMA, "time")
    assert (writers.open, writers.made) == (0, 2)


@given(st.lists(MOMENTS))
def test_rows_of_a_day_are_those_of_its_date_in_their_order(times: list[datetime | None]) -> None:
    naive: dict[date | None, list[int]] = {}
    for at, time in enumerate(times):
        naive.setdefault(time and time.date(), []).append(at)
    batch = pa.record_batch({"time": times, "n": list(range(len(times)))}, SCHEMA)
    found = [(day, part["n"].to_pylist()) for day, part in by_day(batch, "time")]
    assert found == list(naive.items())


@pytest.mark.parametrize("days", [[3, 3, 3], [None, None]])
def test_a_batch_of_one_day_is_not_copied(days: list[int | None]) -> None:
    batch = rows(days)
    ((_, part),) = by_day(batch, "time")
    assert part is batch
    ((_, part),) = by_day(batch, None)
    assert part is batch
