"""A version says which commit it is of, and whether it is that."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tradewind.bundle import PipelineBundle
from tradewind.cli.plan import planned
from tradewind.compiler import commit_of, inputs, same_files, version_of

YAML = """\
version: 1
pipeline: p
sources: {rows: {sample: {name: iris}}}
train: {estimator: sklearn.Ridge, label: y, task: regression}
promote: {model: m}
"""


def git(project: Path, *words: str) -> str:
    who = ("-c", "user.name=A Person", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *who, *words], cwd=project, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """In a folder of its repository, as teams have it."""
    root = tmp_path / "a repository" / "ml"
    (root / "dags/pipelines").mkdir(parents=True)
    (root / "profiles").mkdir()
    (root / "dags/pipelines/p.yaml").write_text(YAML)
    (root / "profiles/local.yaml").write_text("profile: local\nenvironments: {steps: {python: /usr/bin/python3}}\n")
    git(root.parent, "init", "-q")
    return root


def commit(project: Path) -> str:
    git(project, "add", "-A")
    git(project, "commit", "-qm", "because")
    return git(project, "rev-parse", "HEAD")


def test_the_commit_and_whether_the_files_are_it(project: Path) -> None:
    assert commit_of(project) == ""
    known = commit(project)
    assert commit_of(project) == known
    (project.parent / "README.md").write_text("not compiled\n")
    assert commit_of(project) == known
    (project / "dags/pipelines/new.yaml").write_text(YAML.replace("p\n", "q\n", 1))
    assert commit_of(project) == f"{known}-dirty"
    assert commit(project) == commit_of(project) != known


def test_a_machine_without_git_knows_the_same_files(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = commit(project)
    version = version_of(project, inputs(project, "local"))
    assert version.endswith(f".{known}")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert same_files(version_of(project, inputs(project, "local")), version)


def test_the_bundle_follows_a_commit_that_changes_no_file(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    bundle = PipelineBundle(name="pipelines", path=str(project), profile="local")
    monkeypatch.setattr("tradewind.factory.warm", lambda: None)
    first = commit(project)
    (project / "dags/pipelines/p.yaml").write_text(YAML + "description: more\n")
    bundle.initialize()
    assert str(bundle.get_current_version()).endswith(f".{first}-dirty")
    second = commit(project)
    bundle.refresh()
    assert str(bundle.get_current_version()).endswith(f".{second}")
    assert second in next(bundle.path.glob("*.py")).read_text()


def test_a_run_without_airflow_knows_its_commit_too(project: Path) -> None:
    known = commit(project)
    (project / "dags/pipelines/p.yaml").write_text(YAML + "description: more\n")
    _, plan = planned(project / "dags/pipelines/p.yaml", "local")
    steps = {step.id: step for dag in plan.dags for step in dag.steps}
    assert steps["register"].config["commit"] == f"{known}-dirty"
