"""`max_bad` is judged over a run, however many attempts it takes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from tests.tradewind_runtime.disturbed import Killed
from tests.tradewind_runtime.sources.project import Project, objects
from tests.tradewind_runtime.steprun import ingest, rows

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.lake import Lake, Table

RAW = "demo/flights_raw"


class OneRun:
    """Attempts of it at files that are a chunk each."""

    def __init__(self, project: Project, patched: pytest.MonkeyPatch, **source: Any) -> None:
        self.project, self.patched, self.files = project, patched, 0
        self.source = objects("*.jsonl", columns={"n": "long"}, **source)

    def write(self, good: int, bad: int) -> None:
        lines = [f'{{"n": {n}}}' for n in range(good)] + ["broken"] * bad
        self.project.write(f"{self.files}.jsonl", "\n".join(lines))
        self.files += 1

    def attempt(self, run: str = "r1", *, before: int = 0, after: int = 0) -> StepResult:
        """One, which may be killed just before or just after its nth commit of rows."""
        commit, numbers = Table.commit, itertools.count(1)

        def until(table: Table, *given: Any, **more: Any) -> int:
            number = next(numbers) if table.name == RAW else -1
            if number == before:
                raise Killed
            version = commit(table, *given, **more)
            if number == after:
                raise Killed
            return version

        with self.patched.context() as patch:
            patch.setattr(Table, "commit", until)
            end = self.project.end(self.source)
            return ingest(self.project.lake, self.source, end, project=str(self.project.path), run=run, chunk=1)


@pytest.fixture
def project(tmp_path: Path, lake_uri: str) -> Project:
    return Project(tmp_path / "a project", lake_uri)


def test_a_share_counts_what_an_attempt_has_committed_before_it_was_killed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = OneRun(project, monkeypatch)
    for _ in range(3):
        run.write(100, 0)
    run.write(15, 5)
    with pytest.raises(Killed):
        run.attempt(before=4)
    assert len(rows(project.lake)) == 300
    result = run.attempt()
    assert result.metrics == result.metrics | {"rows": 15, "bad": 5}, "of this attempt"
    assert (len(rows(project.lake)), len(rows(project.lake, "flights_quarantine"))) == (315, 5)


@pytest.mark.parametrize("recent", [(50, 500), (1, 500), (2, 2)])
def test_a_count_does_not_begin_anew_with_each_attempt(
    project: Project, monkeypatch: pytest.MonkeyPatch, recent: tuple[int, int]
) -> None:
    monkeypatch.setattr("tradewind_runtime.steps.ingest.RECENT", recent)
    run = OneRun(project, monkeypatch, max_bad=8)
    for _ in range(3):
        run.write(90, 3)
    for _ in range(2):
        with pytest.raises(Killed):
            run.attempt(after=1)
    with pytest.raises(StepError, match=r"TW523 .*: 9 of 279 rows"):
        run.attempt()
    assert len(rows(project.lake)) == 180
    assert run.attempt("r2").metrics["rows"] == 90, "another run's attempts are its own"


def test_commits_of_others_stand_between(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    run = OneRun(project, monkeypatch, max_bad=5)
    for _ in range(2):
        run.write(90, 3)
    with pytest.raises(Killed):
        run.attempt(after=1)
    table = Lake(project.lake).table(RAW)
    for told in ({"run": "r2", "rows": 7, "bad": 5}, {"run": "r1", "rows": 3}, {}):
        table.commit([], schema=table.schema(), positions={}, metadata=told)
    with pytest.raises(StepError, match=r"TW523 .*: 6 of 186 rows"):
        run.attempt()
