"""`tradewind checks` on the lake that a few days of checks left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.tradewind.cli.conftest import Typed, lay_out
from tests.tradewind_runtime.checkable import House, rows

from tradewind.errors import TradewindError
from tradewind_runtime.contract.errors import StepError

SOME = {"volume": {"min": 2}}
SHAPE = {"schema": {"columns": {"n": "string"}, "severity": "warn"}}
FRESH = {"freshness": {"max_age": "1w"}}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good days, and two on which nothing came."""
    root = tmp_path_factory.mktemp("a project")
    (root / "profiles").mkdir()
    (root / "profiles/local.yaml").write_text("profile: local\n")
    house = House(root / ".tradewind/lake")
    for day in range(4):
        if day < 2:
            house.add(rows(3, first=24 * day))
            house.day(day, SOME, SHAPE, FRESH)
            continue
        with pytest.raises(StepError):
            house.day(day, SOME, SHAPE, FRESH)
    return root


def test_each_check_is_shown_with_its_last_results(watched: Path, typed: Typed) -> None:
    done = typed(watched, "checks", "p")
    assert done.exit_code == 1
    lines = {line.split("│")[2].strip(): line for line in done.stdout.splitlines() if line.startswith("│")}
    assert "✗✗✓✓" in lines["volume"]
    assert "✗✗✗✗" in lines["schema"]
    assert "never" in lines["schema"]
    assert "✓✓✓✓" in lines["freshness"]
    assert 'flights: volume {"min": 2}: 0 rows' in done.stdout


def test_a_machine_reads_since_when_one_fails(watched: Path, typed: Typed) -> None:
    done = typed(watched, "checks", "p", "--failing", "--last", "3", "--format", "json")
    body = json.loads(done.stdout)
    assert (done.exit_code, body["ok"]) == (1, False)
    volume, shape = body["checks"]
    assert [(one["run"], one["success"]) for one in volume["results"]] == [
        ("day-3", False), ("day-2", False), ("day-1", True),
    ]  # fmt: skip
    assert (volume["failing_since"], volume["passed"]) == tuple(one["time"] for one in volume["results"][1:])
    assert (shape["check"], shape["severity"], shape["passed"]) == ("schema", "warn", None)


def test_only_a_check_that_stops_is_an_exit_code(tmp_path: Path, typed: Typed) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/local.yaml").write_text("profile: local\n")
    house = House(tmp_path / ".tradewind/lake")
    house.add(rows(3))
    house.day(0, FRESH)
    assert (typed(tmp_path, "checks", "p", "--failing").exit_code, typed(tmp_path, "checks", "p").exit_code) == (0, 0)
    assert typed(tmp_path, "checks", "p", "--failing").stdout == "No check fails.\n"
    house.day(1, FRESH, SHAPE)
    done = typed(tmp_path, "checks", "p", "--source", "flights", "--format", "json")
    assert (done.exit_code, [one["success"] for one in json.loads(done.stdout)["checks"]]) == (0, [False, True])


def test_what_is_asked_no_more_is_shown_and_fails_no_more(tmp_path: Path, typed: Typed) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/local.yaml").write_text("profile: local\n")
    house = House(tmp_path / ".tradewind/lake")
    house.add(rows(3))
    with pytest.raises(StepError):
        house.day(0, {"volume": {"min": 9}}, FRESH)
    assert typed(tmp_path, "checks", "p").exit_code == 1
    house.day(1, FRESH)
    done = typed(tmp_path, "checks", "p", "--format", "json")
    fresh, volume = json.loads(done.stdout)["checks"]
    assert (done.exit_code, fresh["until"], volume["check"], volume["success"]) == (0, None, "volume", False)
    assert volume["until"] == fresh["asked"]
    assert typed(tmp_path, "checks", "p", "--failing").stdout == "No check fails.\n"


@pytest.mark.parametrize(
    ("words", "says", "suggestion"),
    [(("pp",), "no check of 'pp'", "p"), (("p", "--source", "flight"), "source 'flight' has been asked", "flights")],
)
def test_a_name_that_is_not_there_is_refused_with_the_nearest(
    watched: Path, typed: Typed, words: tuple[str, ...], says: str, suggestion: str
) -> None:
    error = typed(watched, "checks", *words).exception
    assert isinstance(error, TradewindError)
    [problem] = error.problems
    assert (problem.code, problem.suggestion) == ("TW341", suggestion)
    assert says in problem.message


def test_its_table_is_one_like_others(watched: Path, typed: Typed) -> None:
    listed = json.loads(typed(watched, "lake", "ls", "--format", "json").stdout)["tables"]
    assert {one["table"]: one["rows"] for one in listed}["p/checks"] == 12
    assert typed(watched, "lake", "verify").exit_code == 0
    for command in (("compact", "p/checks"), ("vacuum", "p/checks"), ("show", "p/checks"), ("history", "p/checks")):
        assert typed(watched, "lake", *command).exit_code == 0
    assert len(json.loads(typed(watched, "checks", "p", "--format", "json").stdout)["checks"]) == 3


LANDING = """\
version: 1
pipeline: landing
sources:
  readings:
    objects: {uri: "landing/*.csv"}
    columns: {id: string, at: timestamp}
    time: at
checks:
  readings:
    - freshness: {max_age: 2d}
    - volume: {min: 2, severity: warn}
    - schema: {columns: {id: string, at: timestamp}, extra: refuse}
"""


def run(project: Path, day: int) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND")}
    command = [sys.executable, "-m", "tradewind.cli", "run", "dags/pipelines/landing.yaml", "--format", "json"]
    command += ["--run-id", f"day-{day}", "--window", f"2013-01-0{day}", f"2013-01-0{day + 1}"]
    return subprocess.run(command, cwd=project, env=kept, capture_output=True, text=True, check=False)


def test_runs_leave_what_the_command_shows(tmp_path: Path, typed: Typed) -> None:
    root = lay_out(tmp_path / "a project")
    (root / "dags/pipelines/landing.yaml").write_text(LANDING)
    (root / "landing").mkdir()
    (root / "landing/first.csv").write_text("id,at\na,2013-01-01 10:00\nb,2013-01-01 20:00\n")
    states = []
    for day in (1, 2, 5):
        done = run(root, day)
        body = json.loads(done.stdout)
        steps = {step["id"]: step["metrics"].get("failed") for step in body.get("steps", ())}
        codes = [problem["code"] for problem in body.get("problems", ())]
        states.append((done.returncode, steps.get("check_readings"), codes))
    assert states == [(0, 0, []), (0, 1, []), (1, None, ["TW540"])], done.stderr
    found = json.loads(typed(root, "checks", "landing", "--format", "json").stdout)
    assert {one["check"]: [result["success"] for result in one["results"]] for one in found["checks"]} == {
        "freshness": [False, True, True],
        "volume": [False, False, True],
        "schema": [True, True, True],
    }
