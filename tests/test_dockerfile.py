"""The Dockerfile as hadolint sees it, and what the cluster asks of it. It is built on a machine with a builder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tradewind_runtime.launchers.pod import USER

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Dockerfile").read_text()
FINAL = dict(re.findall(r"^FROM base AS (airflow|steps|serving)\n(.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("target", ["airflow", "steps", "serving"])
def test_each_image_runs_as_the_user_that_pods_ask_for(target):
    assert f"USER {USER}:{USER}" in FINAL[target]
    assert "org.opencontainers.image.revision" in FINAL[target]


def test_installs_are_those_of_the_lock():
    syncs = re.findall(r"uv sync (.*)", TEXT)
    assert len(syncs) == 3
    assert all("--frozen --no-dev --no-install-project" in line for line in syncs)
    assert "--no-deps" in TEXT


def test_all_that_is_copied_is_let_through():
    allowed = {
        line[1:].split("/")[0] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = {
        name.split("/")[0]
        for line in re.findall(r"^COPY (?!--from)(.*)", TEXT, re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert copied <= allowed
