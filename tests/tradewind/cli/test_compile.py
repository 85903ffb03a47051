"""`tradewind compile`: the DAG files that a managed Airflow gets from CI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.tradewind.cli.conftest import Typed, lay_out

WRONG = "version: 1\npipeline: wrong\nsorces: {}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "a project")


def test_each_yaml_is_a_dag_file_with_the_user_code_beside_it(project: Path, tmp_path: Path, typed: Typed) -> None:
    out = tmp_path / "build dags"
    done = typed(project, "compile", "--out", str(out), "--format", "json")
    body = json.loads(done.stdout)
    assert (done.exit_code, body["ok"], body["problems"]) == (0, True, [])
    stub = out / "breast_cancer.yaml.py"
    assert body["files"] == [{"source": "dags/pipelines/breast_cancer.yaml", "stub": str(stub), "ok": True}]
    compile(stub.read_text(), str(stub), "exec")
    assert body["version"] in stub.read_text()
    [archive] = (out / "code").iterdir()
    assert archive.name.endswith(".tar.gz")
    text = typed(project, "compile", "--out", str(out))
    assert (text.exit_code, text.stdout) == (0, f"1 pipelines compiled to {out}, 0 of them wrong\n")


def test_a_wrong_yaml_is_exit_code_1_and_disturbs_no_other(project: Path, tmp_path: Path, typed: Typed) -> None:
    (project / "dags/pipelines/wrong.yaml").write_text(WRONG)
    done = typed(project, "compile", "--out", str(tmp_path / "out"), "--format", "json")
    body = json.loads(done.stdout)
    assert (done.exit_code, body["ok"]) == (1, False)
    assert {Path(one["source"]).stem: one["ok"] for one in body["files"]} == {"breast_cancer": True, "wrong": False}
    assert {problem["file"] for problem in body["problems"]} == {"dags/pipelines/wrong.yaml"}
    assert {path.name for path in (tmp_path / "out").glob("*.py")} == {"breast_cancer.yaml.py", "wrong.yaml.py"}
    text = typed(project, "compile", "--out", str(tmp_path / "out"))
    assert (text.exit_code, "2 pipelines compiled" in text.stdout) == (1, True)
    assert "dags/pipelines/wrong.yaml:3:1" in text.stderr


@pytest.mark.parametrize("words", [(), ("--out", "x", "--format", "xml")], ids=["no folder", "no such format"])
def test_used_wrongly(project: Path, typed: Typed, words: tuple[str, ...]) -> None:
    assert typed(project, "compile", *words).exit_code == 2
