"""How long the scheduler naps."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.executors.local_executor import LocalExecutor

from tradewind.dev import executor
from tradewind.dev.executor import BRIEF, CALM, LONG, NappingExecutor


def test_naps_are_brief_until_nothing_has_run_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    clock = SimpleNamespace(now=1000.0, sleep=naps.append)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(executor, "time", clock)
    for name in ("start", "sync", "_process_workloads"):
        monkeypatch.setattr(LocalExecutor, name, lambda *_: None)
    found = NappingExecutor(parallelism=1)
    found.start()

    def nap(later: float = 0.0) -> float:
        clock.now += later
        found.sync()
        return naps.pop()

    assert nap() == LONG  # it has just been started
    found._process_workloads([SimpleNamespace(key="a task")])
    assert nap() == BRIEF
    assert nap(later=3600) == BRIEF  # a long one
    found.change_state("a task", "success")
    assert nap(later=CALM) == BRIEF
    assert nap(later=0.1) == LONG
