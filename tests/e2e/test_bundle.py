"""A commit to `dags/pipelines` as a person sees it: DAGs, import errors, runs and what they left, in a real Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.house import ROOT, House, named

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(900)]

ENDED = 'schedule: {cron: "@daily", start: 2013-01-01, end: 2013-12-31}\nalerts: {slack: {channel: "#ml"}}'


@pytest.fixture(scope="module", autouse=True)
def steady(house: House) -> None:
    """A neighbour that nothing may disturb; its check fails in a run that is under way, its schedule is over."""
    house.write("steady.yaml", named("steady").replace("[0, 1]", "[0]") + ENDED + "\n")
    house.until(lambda: house.dag("steady"), "the pipeline that was there first")
    house.airflow.unpause("steady")
    house.trigger("steady", "wrong")


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
    verdict = house.airflow.told("second", "first", "evaluate")["verdict"]
    assert verdict["passed"] is True
    assert isinstance(verdict["reasons"], list)  # plain words, as a person sees them in the UI

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


def test_a_failed_check_is_told_of_and_shows_its_data_docs_also_after_the_schedule_s_end(house: House) -> None:
    state, tasks = house.end("steady", "wrong")
    assert (state, tasks["check_patients"], tasks["train"]) == ("failed", "failed", "upstream_failed")
    house.until(house.messages, "a message of the failure")
    (message,) = house.messages()
    assert message["channel"] == "#ml"
    assert "steady" in str(message)
    assert "check_patients" in str(message)
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
