"""`tradewind doctor`: what a project needs and has, and the exit code that CI reads."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from tests.tradewind.cli.conftest import EXAMPLE, ROOT, Typed

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


ANSWER = {
    "gpus": ["NVIDIA H100"],
    "frameworks": [
        {"framework": "torch", "version": "2.15.0", "device": "cuda", "reason": "NVIDIA H100, and a build with CUDA"},
        {"framework": "xgboost", "version": "3.2.0", "device": "cpu", "reason": "this build of xgboost has no CUDA"},
        {"framework": "sklearn", "version": "1.9.1", "device": "cpu", "reason": "it computes on the CPU alone"},
    ],
}


def test_each_environment_says_which_device_its_frameworks_use(project: Path, typed: Typed) -> None:
    answer = project / "answering python"
    answer.write_text(f"#!/bin/sh\necho a word\necho '{json.dumps(ANSWER)}'\n")
    answer.chmod(0o755)
    text = PROFILE.format(python=sys.executable).replace("{steps:", f"{{gpu: {{python: {answer}}}, steps:")
    (project / "profiles/local.yaml").write_text(text)
    findings = {one["what"]: one for one in json.loads(typed(project, "doctor", "--format", "json").stdout)["findings"]}
    assert findings["gpu"]["found"] == "NVIDIA H100"
    assert findings["torch in gpu"]["found"] == "cuda: NVIDIA H100, and a build with CUDA (2.15.0)"
    assert {name: findings[f"{name} in gpu"]["state"] for name in ("torch", "xgboost", "sklearn")} == {
        "torch": "ok",
        "xgboost": "warning",
        "sklearn": "ok",
    }
    assert "guides/training.md#devices" in findings["xgboost in gpu"]["fix"]
    assert findings["xgboost in steps"]["found"].startswith("cpu: no GPU is visible")


def test_an_environment_that_cannot_be_asked_is_a_warning(project: Path, typed: Typed) -> None:
    (project / "profiles/local.yaml").write_text(PROFILE.format(python="/bin/false"))
    done = typed(project, "doctor")
    assert "warning frameworks in steps" in done.stdout


CLUSTER = """
profile: cluster
lake: {uri: "file://{home}/lake"}
runner: kubernetes
environments: {steps: {image: "i:1"}}
"""


@pytest.fixture
def pods(project: Path) -> Path:
    """A project of one pipeline whose steps run in pods."""
    (project / "profiles/cluster.yaml").write_text(CLUSTER)
    (project / EXAMPLE).parent.mkdir(parents=True)
    shutil.copy(ROOT / EXAMPLE, project / EXAMPLE)
    return project


def test_a_profile_with_pods_has_its_cluster_examined(pods: Path, typed: Typed) -> None:
    (pods / "kubeconfig").write_text("not: one")
    done = typed(pods, "doctor", "--profile", "cluster", "--kubeconfig", str(pods / "kubeconfig"), "--format", "json")
    body = json.loads(done.stdout)
    assert (done.exit_code, body["ok"]) == (1, False)
    states = {finding["what"]: finding["state"] for finding in body["findings"]}
    assert states == {"pipelines": "ok", "lake": "ok", "cluster": "missing"}
    (problem,) = body["problems"]
    assert (problem["code"], problem["file"]) == ("TW575", "profiles/cluster.yaml")
    assert str(pods / "kubeconfig") in problem["got"]


def test_a_lake_that_cannot_be_written_is_told(pods: Path, typed: Typed) -> None:
    text = CLUSTER.replace("{home}/lake", "/proc/lake")
    (pods / "profiles/cluster.yaml").write_text(text)
    done = typed(pods, "doctor", "--profile", "cluster")
    assert done.exit_code == 1
    assert "missing lake" in done.stdout
    assert "TW579 the lake file:///proc/lake cannot be written from here" in done.stdout


def test_a_profile_of_processes_has_this_machine_examined(pods: Path, typed: Typed) -> None:
    assert "ok      java" in typed(pods, "doctor", "--profile", "local").stdout
