"""`tradewind run` waits for objects in its own process, as long as a run of Airflow's would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

PROFILE = "profile: local\nlake: {{uri: 'file://{{project}}/lake'}}\nenvironments: {{steps: {{python: {python}}}}}\n"
YAML = """\
version: 1
pipeline: waits
sources:
  rows: {objects: {uri: "in/{window.date}.csv", wait: WAIT}, columns: {n: long}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "a project"
    (root / "profiles").mkdir(parents=True)
    profile = PROFILE.format(python=sys.executable) + 'settings: {project: "{project}"}\n'
    (root / "profiles/local.yaml").write_text(profile)
    return root


def started(project: Path, wait: str, *words: str) -> subprocess.Popen[str]:
    (project / "waits.yaml").write_text(YAML.replace("WAIT", wait))
    return command(project, *words)


def command(project: Path, *words: str) -> subprocess.Popen[str]:
    asked = [sys.executable, "-m", "tradewind.cli", "run", str(project / "waits.yaml"), "--format", "json", *words]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND")}
    return subprocess.Popen(
        [*asked, "--window", "2013-06-01", "2013-06-02"], cwd=project, text=True,
        env=kept | {"TRADEWIND_HOME": str(project / "home"), "TRADEWIND_PROJECT": str(project)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(project: Path, wait: str, on_waiting: Any = lambda: None) -> dict[str, Any]:
    """What a run of one day says at its end; the other is called once it says that it waits."""
    with started(project, wait) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = [process.stderr.readline()]
        while said[-1] and "nothing is there yet" not in said[-1]:
            said.append(process.stderr.readline())
        on_waiting()
        rest = threading.Thread(target=lambda: said.extend(process.stderr or ()))
        rest.start()
        answer = process.stdout.read()
        rest.join()
    assert answer, said
    assert any("waiting for in/{window.date}.csv" in line for line in said)
    return dict(json.loads(answer))


def test_it_goes_on_once_an_object_is_there(project: Path) -> None:
    def write() -> None:
        (project / "in").mkdir()
        (project / "in/2013-06-01.csv").write_text("n\n1\n2\n")

    answer = run(project, "10m", write)
    assert answer["ok"], answer
    assert {step["id"]: step["metrics"].get("rows") for step in answer["steps"]}["ingest_rows"] == 2


def test_it_fails_when_time_is_up(project: Path) -> None:
    answer = run(project, "2s")
    assert [(one["code"], one["got"]) for one in answer["problems"]] == [("TW535", "nothing at in/2013-06-01.csv")]


def test_a_run_that_has_pinned_waits_no_more(project: Path) -> None:
    """What it read may be gone by then."""
    (project / "in").mkdir()
    (project / "in/2013-06-01.csv").write_text("n\n1\n")
    for _ in range(2):
        answer, said = started(project, "2s", "--run-id", "again").communicate()
        assert json.loads(answer)["ok"], said
        (project / "in/2013-06-01.csv").unlink(missing_ok=True)


@pytest.mark.parametrize("wait", ["", ", wait: 1m"], ids=["read", "waited for"])
def test_a_param_that_makes_no_address_is_told(project: Path, wait: str) -> None:
    (project / "waits.yaml").write_text(
        "version: 1\npipeline: waits\nparams: {folder: in}\nsources:\n"
        f'  rows: {{objects: {{uri: "{{params.folder}}/*.csv"{wait}}}, columns: {{n: long}}}}\n'
    )
    with command(project, "--param", "folder=in//march") as process:
        answer, said = process.communicate()
    (problem,) = json.loads(answer)["problems"]
    assert (problem["code"], problem["path"]) == ("TW515", "sources.rows.objects"), said
    assert "the address has an empty part" in problem["message"]
    assert "in//march/*.csv" in problem["got"]
