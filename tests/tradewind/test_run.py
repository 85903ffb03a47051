"""`tradewind run`: the small pipeline, with no server, no Java and no Airflow process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]


def run(home: Path, *more: str, pipeline: str = "dags/pipelines/breast_cancer.yaml") -> dict[str, Any]:
    command = [sys.executable, "-m", "tradewind.cli", "run", pipeline, "--format", "json"]
    done = subprocess.run(
        [*command, *more], cwd=PROJECT, env={**os.environ, "TRADEWIND_HOME": str(home)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def test_it_registers_once_and_adopts_what_is_done(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    first = run(home)
    assert first["ok"], first
    states = {step["id"]: step["state"] for step in first["steps"]}
    assert set(states.values()) == {"done"}
    assert list(states)[-1] == "register"
    again = {step["id"]: step["state"] for step in run(home)["steps"]}
    # The second run finds the first one's model as candidate; nothing is learnt or registered again.
    adopted = {again[id] for id in ("check_patients", "transform", "train", "evaluate", "register")}
    assert (adopted, again["ingest_patients"]) == ({"adopted"}, "done"), "each run looks whether there is anything new"


def test_a_param_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    answer = run(tmp_path, "--param", "depth=3")
    assert not answer["ok"]
    assert answer["problems"][0]["code"] == "TW224"


def test_what_is_typed_wrongly_is_refused_before_anything_runs(tmp_path: Path) -> None:
    for name, text in (
        ("profiles/local.yaml", "profile: local\nlake: {uri: 'file://{project}/lake'}\n"),
        ("a.yaml", "version: 1\npipeline: a\nparams: {rounds: 9}\nsources: {rows: {sample: {name: iris}}}\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    answer = run(tmp_path / "home", "--param", "rounds=banana", pipeline=str(tmp_path / "a.yaml"))
    assert [(one["code"], one["got"], one["expected"]) for one in answer["problems"]] == [
        ("TW226", "banana", "integer")
    ]
    answer = run(tmp_path / "home", "--refresh", "check_row", "--refresh", "pin", pipeline=str(tmp_path / "a.yaml"))
    assert [(one["code"], one["got"], one["suggestion"]) for one in answer["problems"]] == [
        ("TW228", "check_row", "check_rows"),
        ("TW228", "pin", None),
    ]
    assert not (tmp_path / "lake").exists()
