"""Upgrades and rollbacks: nothing that cannot be changed, nothing that is lost."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import sqlalchemy
import yaml
from packaging.requirements import Requirement
from tests.helm import chart
from tests.helm.chart import CHART, NAMESPACE, ROOT, USERS, Document, containers, of_kind, pods, rendered, usual

ONCE = {"mlflow": {"postgresql": {"password": ""}}}


@pytest.mark.parametrize("user", USERS)
def test_a_new_version_changes_nothing_that_cannot_be_changed(user, monkeypatch, tmp_path):
    """Selectors, services' names and claims are the same in another version of the chart; so are all names."""
    shutil.copytree(CHART, tmp_path / "tradewind")
    about = tmp_path / "tradewind" / "Chart.yaml"
    about.write_text(about.read_text().replace("ersion: 0.1.0", "ersion: 0.2.0"))
    before = fixed(rendered(user))
    monkeypatch.setattr(chart, "CHART", tmp_path / "tradewind")
    assert fixed(rendered(user)) == before
    assert any("0.2.0" in str(document) for document in rendered(user))


def fixed(documents: list[Document]) -> dict[tuple[str, str], object]:
    found: dict[tuple[str, str], object] = {}
    for document in documents:
        where = f"{document['metadata'].get('namespace', NAMESPACE)}/{document['metadata']['name']}"
        spec = document.get("spec", {})
        match document["kind"]:
            case "Deployment":
                kept: object = spec["selector"]
            case "StatefulSet":
                # All but its template, replicas and strategy: what is not there cannot be changed wrongly.
                kept = [spec["selector"], spec["serviceName"], spec.get("volumeClaimTemplates")]
                assert spec.get("volumeClaimTemplates") is None
            case "PersistentVolumeClaim":
                kept = spec["accessModes"]
            case "RoleBinding":
                kept = document["roleRef"]
            case _:
                kept = None
        found[document["kind"], where] = kept
    return found


@pytest.mark.parametrize("user", USERS)
def test_a_new_replica_answers_before_an_old_one_goes(user):
    deployment = of_kind(usual(user), "Deployment")["ml-serving"]["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    spec = deployment["template"]["spec"]
    (container,) = spec["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    # 10 s for requests that have begun, 20 s to close segments and write statuses.
    assert spec["terminationGracePeriodSeconds"] >= sleep + 10 + 20


@pytest.mark.parametrize("user", USERS)
def test_what_holds_data_outlives_the_release(user):
    documents = usual(user)
    assert of_kind(documents, "PersistentVolumeClaim")
    for claim in of_kind(documents, "PersistentVolumeClaim").values():
        assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize("user", USERS)
def test_only_one_mlflow_has_the_database(user):
    """The new one migrates after the old one has gone; its server starts after that."""
    deployment = of_kind(usual(user), "Deployment")["ml-mlflow"]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    (migrate,) = deployment["template"]["spec"]["initContainers"]
    (server,) = deployment["template"]["spec"]["containers"]
    assert migrate["command"][-1].rstrip().endswith('exec mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"')
    assert (migrate["image"], migrate["env"]) == (server["image"], server["env"])


def script(user: str) -> str:
    (migrate,) = pods(usual(user))[f"{NAMESPACE}/ml-mlflow"]["spec"]["initContainers"]
    text: str = migrate["command"][-1]
    return text


def test_the_database_is_copied_before_a_migration(tmp_path):
    """Once for a version of MLflow; a later start of the same one does not replace it by what it has become."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "mlflow"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"

    def start() -> str:
        text = script("small").replace("/data/", f"{tmp_path}/")
        env = {"PATH": path, "MLFLOW_BACKEND_STORE_URI": "sqlite:///x"}
        return subprocess.run(["sh", "-ec", text], env=env, capture_output=True, text=True, check=True).stdout

    assert start() == "db upgrade sqlite:///x\n"
    assert list(tmp_path.glob("*.before-*")) == []  # there was nothing yet
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("create table runs (id text)")
    start()
    (kept,) = tmp_path.glob("mlflow.db.before-*")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("drop table runs")
    start()
    with sqlite3.connect(kept) as database:
        assert database.execute("select name from sqlite_master").fetchall() == [("runs",)]
    assert list(tmp_path.glob("*.part")) == []


def test_postgresql_needs_no_copy_of_ours():
    assert "sqlite3" not in script("team")
    assert "sqlite3" not in script("hardened")


def test_the_password_is_made_once_and_kept():
    documents = rendered("team", ONCE)
    (secret,) = of_kind(documents, "Secret").values()
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    named = f"{secret['metadata']['name']}/password"
    for where, variable in (("ml-mlflow", "PGPASSWORD"), ("ml-mlflow-postgresql", "POSTGRES_PASSWORD")):
        for container in containers(pods(documents)[f"{NAMESPACE}/{where}"]):
            (item,) = [item for item in container["env"] if item["name"] == variable]
            reference = item["valueFrom"]["secretKeyRef"]
            assert f"{reference['name']}/{reference['key']}" == named


def test_two_renders_differ_in_a_made_password_alone():
    """With one that is named, in nothing: test_it_renders_the_same_again."""
    first, second = rendered("team", ONCE), rendered("team", ONCE)
    different = [one for one, other in zip(first, second, strict=True) if one != other]
    assert [document["kind"] for document in different] == ["Secret"]


def test_mlflow_finds_its_postgresql():
    documents = usual("team")
    (server,) = pods(documents)[f"{NAMESPACE}/ml-mlflow"]["spec"]["containers"]
    given = {item["name"]: item.get("value") for item in server["env"]}
    (database,) = pods(documents)[f"{NAMESPACE}/ml-mlflow-postgresql"]["spec"]["containers"]
    theirs = {item["name"]: item.get("value") for item in database["env"]}
    assert given["MLFLOW_BACKEND_STORE_URI"] == f"postgresql://ml-mlflow-postgresql/{theirs['POSTGRES_DB']}"
    assert given["PGUSER"] == theirs["POSTGRES_USER"]
    driver = sqlalchemy.create_engine(given["MLFLOW_BACKEND_STORE_URI"]).driver
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert driver in {Requirement(one).name for one in extras["steps"]}  # MLflow runs from that image
    service = of_kind(documents, "Service")["ml-mlflow-postgresql"]
    assert yaml.safe_dump(service["spec"]["ports"]) == yaml.safe_dump(
        [{"name": "postgresql", "port": 5432, "targetPort": "postgresql"}]
    )
