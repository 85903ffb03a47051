"""`tradewind validate` and `tradewind schema`, as they are typed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SMALL = "version: 1\npipeline: {name}\nsources: {{rows: {{sample: {{name: breast_cancer}}}}}}\n"


def tradewind(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv[0] = 'tradewind'; from tradewind.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120, cwd=cwd
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "profiles").mkdir()
    folder = tmp_path / "dags" / "pipelines"
    folder.mkdir(parents=True)
    (folder / "right.yaml").write_text(SMALL.format(name="right"))
    return tmp_path


def test_all_right() -> None:
    done = tradewind("validate", "dags/pipelines")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "2 pipelines checked: all right"


def test_wrong_files(project: Path) -> None:
    (project / "dags" / "pipelines" / "wrong.yaml").write_text(SMALL.format(name="wrong") + "ownr: me\ntags: a\n")
    done = tradewind("validate", "dags/pipelines", cwd=project)
    assert done.returncode == 1
    assert "dags/pipelines/wrong.yaml:4:1 error TW110 unknown key 'ownr'" in done.stderr
    assert "did you mean: owner" in done.stderr
    assert done.stdout.strip() == "2 pipelines checked: 1 wrong, 2 errors"


def test_json(project: Path) -> None:
    (project / "dags" / "pipelines" / "wrong.yaml").write_text(SMALL.format(name="wrong") + "ownr: me\n")
    done = tradewind("validate", "pipelines", "--format", "json", cwd=project / "dags")
    body = json.loads(done.stdout)
    assert (done.returncode, body["ok"]) == (1, False)
    assert body["files"] == [
        {"file": "pipelines/right.yaml", "ok": True},
        {"file": "pipelines/wrong.yaml", "ok": False},
    ]
    [problem] = body["problems"]
    assert list(problem) == [
        "code",
        "severity",
        "message",
        "file",
        "line",
        "column",
        "path",
        "got",
        "expected",
        "suggestion",
        "fix",
        "docs",
    ]
    assert (problem["file"], problem["line"], problem["column"]) == ("pipelines/wrong.yaml", 4, 1)


def test_a_wrong_default_is_told_once(project: Path) -> None:
    folder = project / "dags" / "pipelines"
    (folder / "other.yaml").write_text(SMALL.format(name="other"))
    (folder / "defaults.yaml").write_text("owner: [me]\n")
    done = tradewind("validate", ".", "--format", "json", cwd=folder)
    assert [one["file"] for one in json.loads(done.stdout)["problems"]] == ["defaults.yaml"]
    assert [one["ok"] for one in json.loads(done.stdout)["files"]] == [False, False]


def test_the_same_file_twice_is_one_file(project: Path) -> None:
    done = tradewind("validate", "dags", "dags/pipelines/right.yaml", cwd=project)
    assert done.stdout.strip() == "1 pipeline checked: all right"


def test_an_empty_folder_is_not_right(project: Path) -> None:
    done = tradewind("validate", "profiles", cwd=project)
    assert (done.returncode, "no pipelines found" in done.stdout) == (1, True)


EXAMPLE = "dags/pipelines/breast_cancer.yaml"


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "nowhere"],
        ["validate"],
        ["valdate"],
        ["validate", ".", "--format", "xml"],
        ["plan", EXAMPLE, "--format", "xml"],
        ["run", EXAMPLE, "--format", "xml"],
        ["compile", "--out", "nowhere", "--project", "nowhere", "--format", "xml"],
    ],
)
def test_used_wrongly(arguments: list[str]) -> None:
    assert tradewind(*arguments).returncode == 2


def test_schema(tmp_path: Path) -> None:
    kept = (ROOT / "docs" / "reference" / "pipeline.schema.json").read_text()
    assert tradewind("schema").stdout == kept
    assert tradewind("schema", "--out", str(tmp_path / "new" / "schema.json")).returncode == 0
    assert (tmp_path / "new" / "schema.json").read_text() == kept


def test_an_error_of_any_command_is_an_object(project: Path) -> None:
    (project / "wrong.yaml").write_text("version: 1\n")
    done = tradewind("plan", "wrong.yaml", "--format", "json", cwd=project)
    assert done.returncode == 1
    body = json.loads(done.stdout)
    assert (body["ok"], {one["code"] for one in body["problems"]}) == (False, {"TW111"})
    assert "Traceback" not in tradewind("plan", "wrong.yaml", cwd=project).stderr


def test_a_profile_is_held_against_too(project: Path) -> None:
    (project / "profiles" / "cluster.yaml").write_text(
        "profile: cluster\nrunner: kubernetes\nenvironments: {steps: {image: i:1}}\n"
        "kubernetes: {gpu_kinds: {H100: {selector: {gpu: h100}}}}\n"
    )
    text = SMALL.format(name="asks") + "defaults: {resources: {gpu: {kind: H10}}}\n"
    (project / "dags" / "pipelines" / "asks.yaml").write_text(text)
    assert tradewind("validate", "dags/pipelines", cwd=project).returncode == 0
    done = tradewind("validate", "dags/pipelines", "--profile", "cluster", cwd=project)
    assert done.returncode == 1
    assert "dags/pipelines/asks.yaml:4:36 error TW162 the profile knows no GPU 'H10'" in done.stderr
    assert "did you mean: H100" in done.stderr
    assert done.stdout.strip() == "2 pipelines checked: 1 wrong, 1 error"
    none = tradewind("validate", "dags/pipelines", "--profile", "clutser", cwd=project)
    assert none.returncode == 1
    assert none.stderr.count("TW302") == 1
