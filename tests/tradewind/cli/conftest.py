"""A small project, and its lake after a run of the example, which needs no server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tradewind.cli import app

ROOT = Path(__file__).parents[3]
EXAMPLE = "dags/pipelines/breast_cancer.yaml"
Typed = Callable[..., Result]


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the example alone, which has been run once by the command."""
    root = tmp_path_factory.mktemp("a project")
    for name in (EXAMPLE, "profiles/local.yaml"):
        (root / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, root / name)
    profile = root / "profiles/local.yaml"
    profile.write_text(profile.read_text().replace("{project}/.venv/bin/python", sys.executable))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND")}
    command = [sys.executable, "-m", "tradewind.cli", "run", EXAMPLE, "--run-id", "first", "--format", "json"]
    done = subprocess.run(command, cwd=root, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
    return root


@pytest.fixture
def project(ran: Path, tmp_path: Path) -> Path:
    """The same, for a test that changes it."""
    return Path(shutil.copytree(ran, tmp_path / "a copy"))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Typed]:
    """Type a command in a project; what it says, and its exit code."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("TRADEWIND_HOME", raising=False)
    monkeypatch.delenv("TRADEWIND_PROFILE", raising=False)

    def type_in(project: Path, *words: str) -> Result:
        monkeypatch.setenv("TRADEWIND_PROJECT", str(project))
        return CliRunner().invoke(app, words)

    return type_in
