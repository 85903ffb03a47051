"""The Dockerfile as hadolint sees it, what the cluster asks of it, and the command that builds it, with no builder.

The images themselves are built and tried in `tests/cluster/test_images.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
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
    text = "".join(path.read_text() for path in sorted((ROOT / "bin/image").iterdir()))
    syncs = re.findall(r"uv sync (.*)", text)
    assert len(syncs) == 2
    assert all("--frozen" in line for line in syncs)
    assert re.findall(r"uv pip install .*", text) == re.findall(r"uv pip install .*--no-deps --no-index.*", text)


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


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., list[list[str]]]:
    """Runs `bin/images` with a docker that only says how it was called."""
    calls = tmp_path / "calls"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done >> "{calls}"; echo >> "{calls}"\n')
    docker.chmod(0o755)

    def run(*words: str) -> list[list[str]]:
        known = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "BUILDER": "docker", "COMMIT": "c" * 40}
        subprocess.run([ROOT / "bin/images", *words], env=known, check=True, capture_output=True)
        return [call.split("\n") for call in calls.read_text().strip().split("\n\n")]

    return run


def test_all_three_are_built_and_pushed(images):
    builds = [call for call in images("registry.example.com/ml") if call[0] == "build"]
    assert [call[call.index("--target") + 1] for call in builds] == ["airflow", "steps", "serving"]
    assert [call[call.index("--tag") + 1] for call in builds] == [
        f"registry.example.com/ml/{name}:{'c' * 12}" for name in ("airflow", "steps", "serving")
    ]


def test_an_image_with_cuda_has_no_xgboost_without(images):
    build, push, _ = images("registry.example.com/ml", "steps-gpu", "--", "--secret", "id=env,src=a file")
    assert build[build.index("--target") + 1] == "steps"
    extras = next(word for word in build if word.startswith("STEPS="))
    assert "--extra torch --extra gpu --no-install-package xgboost-cpu" in extras
    assert "id=env,src=a file" in build
    assert push[-1] == f"registry.example.com/ml/steps-gpu:{'c' * 12}"


def test_beam_is_in_an_image_without_the_other_steps_libraries(images):
    build = images("registry.example.com/ml", "steps-beam")[0]
    assert "STEPS=--extra beam" in build
    assert build[build.index("--target") + 1] == "steps"


def test_no_registry_is_an_error_that_says_so(images):
    with pytest.raises(subprocess.CalledProcessError) as raised:
        images()
    assert b"to which registry?" in raised.value.stderr
