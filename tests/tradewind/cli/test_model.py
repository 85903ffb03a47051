"""`tradewind model`: what is in the registry, for people and for machines."""

import json

import pytest
from typer.testing import CliRunner

from tradewind.cli.model import app
from tradewind.errors import TradewindError
from tradewind_runtime.registries import Registration, registry


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("a project")
    uri = f"sqlite:///{root}/mlflow/mlflow.db"
    (root / "profiles").mkdir()
    (root / "profiles" / "local.yaml").write_text(f"profile: local\nregistry: {{uri: '{uri}'}}\n")
    mlflow = registry("mlflow")
    for digest, score in (("a" * 64, 0.7), ("b" * 64, 0.72)):
        mlflow.register(
            uri,
            Registration(
                "flights", digest, "flights", params={"eta": score}, metrics={"roc_auc": score}, challenger=True,
                tags={"tradewind.tables": '{"t": [1]}'},
            ),
        )  # fmt: skip
    mlflow.promote(uri, "flights", "1")
    return root


@pytest.fixture
def run(project, monkeypatch):
    monkeypatch.setenv("TRADEWIND_PROJECT", str(project))
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *words: CliRunner().invoke(app, words, catch_exceptions=False).stdout


def test_versions_are_listed_newest_first(run):
    listed = json.loads(run("ls", "--format", "json"))
    assert listed["ok"]
    assert [(v["version"], v["aliases"]) for v in listed["versions"]] == [("2", ["challenger"]), ("1", ["champion"])]
    text = run("ls")
    assert "roc_auc 0.72" in text
    assert "champion" in text


def test_one_version_is_shown_by_number_or_role(run):
    by_role = json.loads(run("show", "flights", "--format", "json"))["version"]
    assert by_role == json.loads(run("show", "flights", "1", "--format", "json"))["version"]
    assert by_role["digest"] == "a" * 64
    assert '{"t": [1]}' in run("show", "flights")


def test_two_versions_are_compared(run):
    found = json.loads(run("compare", "flights", "--format", "json"))
    assert found["versions"] == ["1", "2"]
    assert found["metrics"]["roc_auc"] == [0.7, 0.72]
    assert "+0.02" in run("compare", "flights", "1", "2")


@pytest.mark.parametrize(("words", "said"), [(["flight"], "did you mean: flights"), (["flights", "7"], "no version")])
def test_what_is_not_there_is_told(run, words, said):
    with pytest.raises(TradewindError, match=said):
        run("show", *words)
