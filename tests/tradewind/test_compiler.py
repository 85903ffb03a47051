"""YAML files become stubs; a wrong one disturbs no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tradewind.compiler import compile_project, inputs, version_of
from tradewind.errors import PipelineError
from tradewind.profile import load_profile

RIGHT = """\
version: 1
pipeline: right
description: "quotes: \\"\\"\\" ''' and a backslash \\\\n"
sources: {rows: {sample: {name: iris}}}
"""
WRONG = RIGHT.replace("right", "wrong").replace("sources", "sorces")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "a project"
    for name, text in {
        "dags/pipelines/right.yaml": RIGHT,
        "dags/pipelines/team/wrong.yaml": WRONG,
        "profiles/local.yaml": "profile: local\nenvironments: {steps: {python: /usr/bin/python3}}\n",
        "include/models/m.py": "def train(ctx): ...\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def compiled(project: Path, out: Path) -> dict[str, Path]:
    done = compile_project(project, out, load_profile("local", project=project), version="v1")
    return {one.source: one.stub for one in done}


def test_a_wrong_file_becomes_a_stub_that_says_so_and_no_other_is_disturbed(project: Path, tmp_path: Path) -> None:
    stubs = compiled(project, tmp_path / "out")
    wrong = stubs["dags/pipelines/team/wrong.yaml"]
    with pytest.raises(PipelineError) as caught:
        exec(compile(wrong.read_text(), str(wrong), "exec"), {"__file__": str(wrong)})
    assert "dags/pipelines/team/wrong.yaml:4:1" in str(caught.value)
    assert "sources" in str(caught.value)
    scope: dict[str, object] = {"__file__": str(stubs["dags/pipelines/right.yaml"]), "__name__": "stub"}
    exec(compile(stubs["dags/pipelines/right.yaml"].read_text(), "right", "exec"), scope)
    assert scope["YAML"] == RIGHT
    assert "right" in {getattr(value, "dag_id", None) for value in scope.values()}


def test_files_that_differ_in_their_ending_only_are_two_pipelines(project: Path, tmp_path: Path) -> None:
    (project / "dags/pipelines/right.yml").write_text(RIGHT.replace("right", "other"))
    stubs = compiled(project, tmp_path / "out")
    assert len(set(stubs.values())) == 3
    assert "pipeline: right" in stubs["dags/pipelines/right.yaml"].read_text()
    assert "pipeline: other" in stubs["dags/pipelines/right.yml"].read_text()


def test_a_stub_has_the_words_that_airflow_looks_for(project: Path, tmp_path: Path) -> None:
    for stub in compiled(project, tmp_path / "out").values():
        text = stub.read_text().lower()
        assert "dag" in text
        assert "airflow" in text


def test_compiling_again_gives_the_same_bytes(project: Path, tmp_path: Path) -> None:
    first, second = (compiled(project, tmp_path / name) for name in ("a", "b"))
    assert [stub.read_bytes() for stub in first.values()] == [stub.read_bytes() for stub in second.values()]


@pytest.mark.parametrize(
    "edited",
    [
        "dags/pipelines/right.yaml",
        "dags/pipelines/defaults.yaml",
        "dags/defaults.yaml",
        "defaults.yaml",
        "include/models/m.py",
        "profiles/local.yaml",
        "include/models/new.py",
    ],
)
def test_whatever_decides_the_stubs_is_a_new_version(project: Path, edited: str) -> None:
    def version() -> str:
        return version_of(project, inputs(project, "local"))

    before = version()
    assert version() == before
    os.utime(project / "dags/pipelines/right.yaml")  # a touch is no change
    assert version() == before
    path = project / edited
    path.write_text((path.read_text() if path.exists() else "") + "\n# more\n")
    assert version() != before
