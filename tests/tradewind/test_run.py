"""`tradewind run`: the small pipeline, with no server, no Java and no Airflow process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]


def run(home: Path, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tradewind.cli", "run", "dags/pipelines/breast_cancer.yaml", "--format", "json"]
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
    assert {
        again[id] for id in ("ingest_patients", "check_patients", "transform", "train", "evaluate", "register")
    } == {"adopted"}


def test_a_param_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    answer = run(tmp_path, "--param", "depth=3")
    assert not answer["ok"]
    assert answer["problems"][0]["code"] == "TW224"
