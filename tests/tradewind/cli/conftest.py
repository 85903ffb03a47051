"""A small project, and how a command is typed in it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tradewind.cli import app

ROOT = Path(__file__).parents[3]
EXAMPLE = "dags/pipelines/breast_cancer.yaml"
Typed = Callable[..., Result]


def lay_out(root: Path) -> Path:
    """A project with the example that needs no server."""
    for name in (EXAMPLE, "profiles/local.yaml"):
        (root / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, root / name)
    profile = root / "profiles/local.yaml"
    profile.write_text(profile.read_text().replace("{project}/.venv/bin/python", sys.executable))
    return root


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Type a command in a project; what it says, and its exit code."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("TRADEWIND_HOME", raising=False)
    monkeypatch.delenv("TRADEWIND_PROFILE", raising=False)

    def type_in(project: Path, *words: str) -> Result:
        monkeypatch.setenv("TRADEWIND_PROJECT", str(project))
        return CliRunner().invoke(app, words)

    return type_in
