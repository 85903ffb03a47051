"""A commit to `dags/pipelines` as a person sees it: DAGs, import errors, runs and what they left, in a real Airflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tradewind.demo.airflow import Airflow, DemoError, ticks
from tradewind.dev import ports
from tradewind.dev.credentials import credentials
from tradewind.dev.servers.airflow import USER
from tradewind.dev.stack import recorded_ports
from tradewind.dev.supervisor import Supervisor

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "dags/pipelines/breast_cancer.yaml").read_text()
PROFILE = """\
profile: local
environments: {{steps: {{python: {python}}}}}
settings: {{threads: 1}}
stack: [airflow]
ports: {{airflow: {port}}}
"""
PATIENCE = 120  # seconds; a commit takes some 5 on an idle machine


@dataclass
class House:
    """A project in a folder with a space, and the Airflow that reads it."""

    folder: Path
    airflow: Airflow
    token: str

    def write(self, name: str, text: str) -> Path:
        """What a commit does."""
        path = self.folder / "dags/pipelines" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def until(self, true: Callable[[], object], what: str) -> float:
        """Seconds until it is so."""
        for gone in ticks(PATIENCE):
            if true():
                return gone
        raise AssertionError(f"not within {PATIENCE} s: {what}")

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        try:
            found = self.airflow.call("GET", f"/dags/{dag_id}")
        except DemoError:
            return None
        return None if found["is_stale"] else found

    def run(self, dag_id: str, run_id: str, **conf: Any) -> tuple[str, dict[str, str]]:
        """Trigger a run as the form does, with a logical date; its end, and its tasks' states."""
        body = {"dag_run_id": run_id, "logical_date": _now(), "conf": conf}
        self.airflow.call("POST", f"/dags/{dag_id}/dagRuns", json=body)
        state = self.airflow.follow(dag_id, run_id, lambda _: None, timeout=300)
        return state, {task["task_id"]: task["state"] for task in self.airflow.tasks(dag_id, run_id)}

    def page(self, path: str, *, login: bool = True) -> httpx.Response:
        """A page of Tradewind's own."""
        headers = {"Authorization": f"Bearer {self.token}"} if login else {}
        return httpx.get(f"{self.airflow.url}{path}", headers=headers, trust_env=False, timeout=60)

    def shown(self, docs: str) -> httpx.Response:
        """The page of data docs that their first page leads to."""
        return self.page(docs.rpartition("/")[0] + "/" + self.page(docs).text.split('href="')[1].split('"')[0])

    def links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str]:
        found = self.airflow.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links")
        return {title: link for title, link in found["extra_links"].items() if link}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime()) + f"{time.time_ns() % 10**9 // 1000:06d}Z"


def _dev(folder: Path, *words: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRADEWIND", "AIRFLOW"))}
    command = [sys.executable, "-m", "tradewind.cli", "dev", *words]
    done = subprocess.run(
        command, env=kept | {"TRADEWIND_PROJECT": str(folder)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("e2e") / "a project"
    shutil.copytree(ROOT / "include/models", folder / "include/models")
    (folder / "dags/pipelines").mkdir(parents=True)
    ended = 'schedule: {cron: "@daily", start: 2013-01-01, end: 2013-12-31}'
    steady = named("steady").replace("[0, 1]", "[0]") + ended + "\n"  # its check fails, its schedule is over
    (folder / "dags/pipelines/steady.yaml").write_text(steady)
    (folder / "profiles").mkdir()
    port = {"port": ports.choose({"airflow": None})["airflow"]}  # not the usual one, which others may be taking
    (folder / "profiles/local.yaml").write_text(PROFILE.format(python=sys.executable, **port))
    home = folder / ".tradewind"
    try:
        _dev(folder, "up")
        url, password = (
            f"http://127.0.0.1:{recorded_ports(home)['airflow']}",
            credentials(home / "run").airflow_password,
        )
        said = httpx.post(f"{url}/auth/token", json={"username": USER, "password": password}, trust_env=False)
        found = House(folder, Airflow(url, USER, password), said.json()["access_token"])
        found.until(lambda: found.dag("steady"), "the pipeline that was there first")
        yield found
        assert Supervisor(home).states().get("scheduler") == "RUNNING"
        _dev(folder, "down")
    finally:
        Supervisor(home).kill()


def named(pipeline: str) -> str:
    """The example, as another pipeline."""
    return EXAMPLE.replace("breast-cancer", pipeline)


def test_airflow_has_no_errors(house: House) -> None:
    assert house.airflow.call("GET", "/plugins/importErrors")["import_errors"] == []
    assert house.airflow.import_errors() == []
    plugin = [one for one in house.airflow.call("GET", "/plugins")["plugins"] if one["name"] == "tradewind"]
    assert [app["url_prefix"] for one in plugin for app in one["fastapi_apps"]] == ["/tradewind"]


def test_a_new_pipeline_runs_and_shows_what_it_did(house: House) -> None:
    house.write("team/second.yaml", named("second"))
    seconds = house.until(lambda: house.dag("second"), "the DAG of a YAML that was added")
    print(f"a new YAML is a DAG after {seconds:.0f} s")
    details = house.airflow.call("GET", "/dags/second/details")
    assert "pipeline: second" in details["doc_md"]
    assert "sample: {name: breast_cancer}" in house.airflow.call("GET", "/dagSources/second")["content"]
    house.airflow.unpause("second")

    state, tasks = house.run("second", "first")
    assert (state, tasks["register"]) == ("success", "success"), tasks
    assert house.airflow.told("second", "first", "register")["facts"]["version"] == "1"
    assert house.airflow.told("second", "first", "evaluate")["verdict"]["passed"] is True

    docs = house.links("second", "first", "check_patients")["Data docs"]
    assert house.page(docs, login=False).status_code == 401
    assert house.page(docs).status_code == 200
    assert "fa-check-circle" in house.shown(docs).text
    assert house.page(docs.replace("/second/docs/", "/steady/docs/")).status_code == 404
    assert house.page(docs.replace("docs/second", "docs/second/..%2f..%2fmodels")).status_code == 404
    assert house.page("/tradewind/lake/second/code").status_code == 404
    assert house.links("second", "first", "pin") == {}


def test_a_second_run_adopts(house: House) -> None:
    state, tasks = house.run("second", "again")
    assert state == "success", tasks
    for step in ("train", "evaluate", "register"):
        assert house.airflow.told("second", "again", step)["adopted_from"] == "first"
    assert house.airflow.told("second", "again", "register")["facts"]["version"] == "1"


def test_a_changed_pipeline_changes(house: House) -> None:
    house.write("team/second.yaml", named("second").replace("A first taste", "Changed"))
    seconds = house.until(
        lambda: str((house.dag("second") or {}).get("description")).startswith("Changed"), "the changed DAG"
    )
    print(f"a changed YAML is a changed DAG after {seconds:.0f} s")


def test_a_failed_check_shows_its_data_docs_also_after_the_schedule_s_end(house: House) -> None:
    house.airflow.unpause("steady")
    state, tasks = house.run("steady", "wrong")
    assert (state, tasks["check_patients"], tasks["train"]) == ("failed", "failed", "upstream_failed")
    assert "fa-times" in house.shown(house.links("steady", "wrong", "check_patients")["Data docs"]).text


def test_a_wrong_pipeline_has_its_own_error_and_a_removed_one_goes(house: House) -> None:
    wrong = house.write("wrong.yaml", named("wrong").replace("train:", "trian:"))
    seconds = house.until(house.airflow.import_errors, "the import error")
    print(f"a wrong YAML is an import error after {seconds:.0f} s")
    (error,) = house.airflow.import_errors()
    line = next(number for number, text in enumerate(wrong.read_text().splitlines(), 1) if text.startswith("trian"))
    assert f"dags/pipelines/wrong.yaml:{line}:1 TW" in error["stack_trace"]
    assert "did you mean: train" in error["stack_trace"]
    assert house.dag("steady")
    assert house.dag("second")
    assert house.dag("wrong") is None

    wrong.unlink()
    (house.folder / "dags/pipelines/team/second.yaml").unlink()
    house.until(lambda: not house.airflow.import_errors(), "no import error")
    seconds = house.until(lambda: house.dag("second") is None, "no DAG of a YAML that was removed")
    print(f"a removed YAML is no DAG after {seconds:.0f} s")
    assert house.dag("steady")


@pytest.mark.timeout(120)
def test_a_mounted_plugins_folder_has_no_errors(tmp_path: Path) -> None:
    """Beside the entry point of the installed package, too."""
    say = "from airflow import plugins_manager as m; i = m.get_plugin_info(); print(m.get_import_errors(), i)"
    settings = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins")}
    said = subprocess.run(
        [sys.executable, "-c", say], env=os.environ | settings, capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-1].startswith("{} "), said.stdout + said.stderr
    assert said.stdout.count("'name': 'tradewind'") == 1
