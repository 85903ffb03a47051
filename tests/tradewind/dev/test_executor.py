"""How long the scheduler naps."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from multiprocessing import SimpleQueue
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.executors.local_executor import LocalExecutor

from tradewind.dev import executor
from tradewind.dev.executor import AT_WORK, CALM, TICK, WHILE, NappingExecutor


class Clock:
    """Moved by naps alone; something may happen at a time."""

    def __init__(self) -> None:
        self.now, self.at, self.happens = 1000.0, float("inf"), lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.at:
            self.at = float("inf")
            self.happens()

    def soon(self, happens: Callable[[], None]) -> None:
        """It will happen during the next nap."""
        self.at, self.happens = self.now + 2.5 * TICK, happens


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(executor, "time", found)
    return found


@pytest.fixture
def database(tmp_path: Path) -> sqlite3.Connection:
    """As Airflow sets it up."""
    found = sqlite3.connect(tmp_path / "airflow.db", isolation_level=None)
    found.execute("pragma journal_mode=wal")
    found.execute("create table runs (id)")
    return found


@pytest.fixture
def napping(clock: Clock, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> NappingExecutor:
    """Started, with workers who do nothing."""
    file = database.execute("pragma database_list").fetchone()[2]
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{file}")
    for name in ("start", "sync", "_process_workloads"):
        monkeypatch.setattr(LocalExecutor, name, lambda *_: None)
    found = NappingExecutor(parallelism=1)
    found.result_queue = SimpleQueue()
    found.start()
    clock.now += WHILE + 1
    return found


def nap(napping: NappingExecutor, clock: Clock) -> float:
    """Its seconds."""
    began = clock.now
    napping.sync()
    return clock.now - began


def test_naps_are_short_until_nothing_has_run_for_a_while(napping: NappingExecutor, clock: Clock) -> None:
    assert nap(napping, clock) == pytest.approx(CALM, abs=TICK)
    napping._process_workloads([SimpleNamespace(key="a task")])
    assert nap(napping, clock) == pytest.approx(AT_WORK, abs=TICK)
    clock.now += 3600  # a long one
    assert nap(napping, clock) == pytest.approx(AT_WORK, abs=TICK)
    napping.change_state("a task", "success")
    assert nap(napping, clock) == pytest.approx(AT_WORK, abs=TICK)
    clock.now += WHILE
    assert nap(napping, clock) == pytest.approx(CALM, abs=TICK)


def test_whoever_writes_into_the_database_ends_a_nap(
    napping: NappingExecutor, clock: Clock, database: sqlite3.Connection
) -> None:
    clock.soon(lambda: database.execute("insert into runs values ('triggered')") and None)
    assert nap(napping, clock) == pytest.approx(3 * TICK)
    assert nap(napping, clock) == pytest.approx(CALM, abs=TICK)  # it has been seen


def test_a_worker_s_word_ends_a_nap(napping: NappingExecutor, clock: Clock) -> None:
    clock.soon(lambda: napping.result_queue.put("done"))
    assert nap(napping, clock) == pytest.approx(3 * TICK)


def test_a_locked_database_ends_a_nap(napping: NappingExecutor, clock: Clock, tmp_path: Path) -> None:
    """Whoever holds it is about to write."""
    other = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)
    other.execute("create table runs (id)")
    napping._database = sqlite3.connect(tmp_path / "locked.db", timeout=0)
    clock.soon(lambda: other.execute("begin exclusive") and None)
    assert nap(napping, clock) == pytest.approx(3 * TICK)
