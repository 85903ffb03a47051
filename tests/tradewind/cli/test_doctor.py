"""`tradewind doctor`: what a project needs and has, and the exit code that CI reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.tradewind.cli.conftest import Typed

PROFILE = "profile: local\nstack: []\nenvironments: {{steps: {{python: {python}}}}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One that needs what runs this test."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/local.yaml").write_text(PROFILE.format(python=sys.executable))
    return tmp_path


def test_all_that_is_needed_is_here(project: Path, typed: Typed) -> None:
    done = typed(project, "doctor")
    assert done.exit_code == 0
    assert done.stdout.endswith("All that is needed is here.\n")
    assert "ok      profile" in done.stdout
    assert f"ok      environment steps    {sys.executable}" in done.stdout


@pytest.mark.parametrize(
    ("profile", "what"),
    [
        (PROFILE.format(python="/nowhere/python"), "environment steps"),
        ("profile: local\nstakc: []\n", "profile"),
    ],
)
def test_what_is_missing_is_named_with_its_fix(project: Path, typed: Typed, profile: str, what: str) -> None:
    (project / "profiles/local.yaml").write_text(profile)
    done = typed(project, "doctor", "--format", "json")
    body = json.loads(done.stdout)
    assert (done.exit_code, body["ok"]) == (1, False)
    [missing] = [finding for finding in body["findings"] if finding["state"] == "missing"]
    assert missing["what"] == what
    assert missing["fix"]
    text = typed(project, "doctor")
    assert text.exit_code == 1
    assert f"missing {what}" in text.stdout
    assert f"fix: {missing['fix']}" in text.stdout
    assert "Something that is needed is missing." in text.stdout
