"""What people do in the web UI, by the API that it uses: approve, reject, and run windows again."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, timedelta

import pytest
from tests.e2e.house import House
from tests.e2e.slow import lake_of

from tradewind_runtime import endpoints

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(900)]

ASKED = """\
version: 1
pipeline: asked
params:
  rounds: {type: integer, default: 10}
sources:
  patients:
    sample: {name: breast_cancer}
train: {estimator: sklearn.HistGradientBoostingClassifier, label: target, params: {max_iter: "{params.rounds}"}}
promote: {model: asked, when: {roc_auc: {min: 0.5}}, approval: human}
deploy: {canary: [100]}
score: {}
defaults: {retry_delay: 1s}
"""
DAYS = """\
version: 1
pipeline: days
schedule: {cron: "@daily", start: 2013-01-01, end: 2013-01-03, catchup: true}
sources:
  sales:
    objects: {uri: "FOLDER/{window.date}.csv", format: csv}
    time: sold
transform:
  sql:
    query: >-
      select sold, amount, amount * 2 as many from sales
      where sold >= '{window.start}' and sold < '{window.end}'
split: {time: sold, train: 12h, valid: 6h, test: 6h}
defaults: {retry_delay: 1s}
"""


def registered(house: House, rounds: int) -> str:
    """Register a version and give the rollout that waits for a person."""
    known = {run["dag_run_id"] for run in house.airflow.runs("asked__rollout")}
    state, tasks = house.run("asked", f"rounds{rounds}", rounds=rounds)
    assert (state, tasks["register"]) == ("success", "success"), tasks
    run_id = house.airflow.await_run("asked__rollout", known)
    house.until(lambda: house.waits("asked__rollout", run_id, "approve"), "the question")
    return run_id


def test_a_version_waits_for_a_person_and_a_newer_one_supersedes_it(house: House) -> None:
    house.write("asked.yaml", ASKED)
    house.until(lambda: house.dag("asked"), "the DAG")
    for dag_id in ("asked", "asked__rollout"):
        house.airflow.unpause(dag_id)
    older, newer = registered(house, 10), registered(house, 20)
    assert endpoints.latest(lake_of(house).documents, "asked") is None

    house.answer("asked__rollout", newer, "approve", "Approve")
    assert house.airflow.follow("asked__rollout", newer, lambda _: None) == "success"
    served = endpoints.latest(lake_of(house).documents, "asked")
    assert served is not None
    assert served.stable == house.airflow.told("asked", "rounds20", "register")["facts"]["digest"]

    house.answer("asked__rollout", older, "approve", "Approve")
    assert house.airflow.follow("asked__rollout", older, lambda _: None) == "success"
    states = {task["task_id"]: task["state"] for task in house.airflow.tasks("asked__rollout", older)}
    assert (states["confirm"], states["canary_100"], states["promote"]) == ("skipped", "skipped", "skipped")
    assert endpoints.latest(lake_of(house).documents, "asked") == served


def test_a_rejected_version_is_not_rolled_out(house: House) -> None:
    """The one that was superseded, asked for by hand."""
    before, run_id = endpoints.latest(lake_of(house).documents, "asked"), "rejected"
    house.trigger("asked__rollout", run_id, version="1")
    house.until(lambda: house.waits("asked__rollout", run_id, "approve"), "the question")
    house.answer("asked__rollout", run_id, "approve", "Reject")
    assert house.airflow.follow("asked__rollout", run_id, lambda _: None) == "success"
    states = {task["task_id"]: task["state"] for task in house.airflow.tasks("asked__rollout", run_id)}
    assert (states["confirm"], states["canary_100"], states["release"]) == ("skipped", "skipped", "success")
    assert endpoints.latest(lake_of(house).documents, "asked") == before


def test_a_person_goes_back_to_an_older_version_at_once(house: House) -> None:
    """To the one that was superseded and never served, by the form of the rollout's DAG."""
    house.trigger("asked__rollout", "back", version="1", at_once=True)
    house.until(lambda: house.waits("asked__rollout", "back", "approve"), "the question")
    house.answer("asked__rollout", "back", "approve", "Approve")
    assert house.airflow.follow("asked__rollout", "back", lambda _: None) == "success"
    served = endpoints.latest(lake_of(house).documents, "asked")
    assert served is not None
    assert (served.canary, served.by) == (None, "asked__rollout/back")
    assert served.stable == house.airflow.told("asked", "rounds10", "register")["facts"]["digest"]
    assert house.airflow.told("asked__rollout", "back", "promote")["facts"]["replaced"] == "2"


def test_the_champion_scores_a_table_by_hand(house: House) -> None:
    """In a DAG of its own; the champion is the version to which the test before went back."""
    house.airflow.unpause("asked__score")
    window = {"window_start": "2013-01-01T00:00:00Z", "window_end": "2013-02-01T00:00:00Z"}
    assert house.run("asked__score", "scored", **window)[0] == "success"
    assert house.run("asked__score", "again", **window)[0] == "success"
    rows = lake_of(house).table("asked/predictions").snapshot().to_arrow()
    assert rows.num_rows == lake_of(house).table("asked/features").snapshot().count()
    assert set(rows["_digest"].to_pylist()) == {house.airflow.told("asked", "rounds10", "register")["facts"]["digest"]}


def test_scheduled_runs_use_their_window_and_backfills_redo_them_in_any_order_and_twice(house: House) -> None:
    """Each day's rows are there once, however often and in which order its window is done."""
    folder = house.folder / "landing"
    folder.mkdir()
    days = [date(2013, 1, 1) + timedelta(days=n) for n in range(3)]
    for day in days:
        rows = "".join(f"{day}T{hour:02}:00:00Z,{hour + day.day}\n" for hour in range(24))
        (folder / f"{day}.csv").write_text("sold,amount\n" + rows)
    yaml = DAYS.replace("FOLDER", folder.as_uri())
    house.write("days.yaml", yaml)
    house.until(lambda: house.dag("days"), "the DAG")
    house.airflow.unpause("days")
    house.until(lambda: len(house.airflow.runs("days")) == 3, "the runs of all days of the schedule")
    for run in house.airflow.runs("days"):
        assert house.airflow.follow("days", run["dag_run_id"], lambda _: None) == "success"
    assert features(house, times=2) == Counter({str(day): 24 for day in days})

    house.write("days.yaml", yaml.replace("* 2", "* 3") + "description: thrice\n")
    house.until(lambda: (house.dag("days") or {}).get("description") == "thrice", "the changed DAG")
    version = lake_of(house).table("days/sales_raw").version()
    house.backfill("days", days[0], days[-1], backwards=True)
    assert features(house, times=3) == Counter({str(day): 24 for day in days})
    house.backfill("days", days[1], days[2], backwards=False)
    assert features(house, times=3) == Counter({str(day): 24 for day in days})
    assert lake_of(house).table("days/sales_raw").version() == version  # nothing was read again


def features(house: House, *, times: int) -> Counter[str]:
    """Rows of each day; each is right."""
    rows = lake_of(house).table("days/features").snapshot().to_arrow().to_pylist()
    assert all(row["many"] == times * row["amount"] for row in rows)
    return Counter(str(row["sold"].date()) for row in rows)


def test_a_pipeline_after_anothers_table_has_the_window_of_its_run(house: House) -> None:
    """The one that the test before has left."""
    schedule = 'schedule: {after: ["tradewind://table/days/features"]}'
    yaml = (house.folder / "dags/pipelines/days.yaml").read_text().replace("pipeline: days", "pipeline: following")
    house.write("following.yaml", re.sub(r"schedule: .*", schedule, yaml))
    house.until(lambda: house.dag("following"), "the DAG")
    house.airflow.unpause("following")
    window = {"window_start": "2013-01-02T00:00:00Z", "window_end": "2013-01-04T00:00:00Z"}
    assert house.run("days", "once_more", **window)[0] == "success"
    run_id = house.airflow.await_run("following", set())
    assert house.airflow.follow("following", run_id, lambda _: None) == "success"
    rows = lake_of(house).table("following/sales").snapshot().to_arrow().to_pylist()
    assert Counter(str(row["sold"].date()) for row in rows) == {"2013-01-02": 24, "2013-01-03": 24}
