"""DAGs of a plan: when they run."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import ParamValidationError
from airflow.timetables.base import DagRunInfo, TimeRestriction
from pendulum import datetime as at
from pendulum import instance
from tests.tradewind.plan.small import plan

from tradewind.factory import dags_of


def runs(zone: str) -> list[DagRunInfo]:
    """All runs of a schedule of two days, as Airflow's scheduler asks for them."""
    schedule = {"cron": "@daily", "start": "2013-06-01", "end": "2013-06-02", "catchup": True, "timezone": zone}
    text = plan(schedule=schedule, monitor={"then": "alert"}).model_dump_json()
    dag = dags_of(text, file="/bundle/p.py")["p"]
    assert dag.start_date is not None
    limits = TimeRestriction(earliest=instance(dag.start_date), latest=None, catchup=True)
    found: list[DagRunInfo] = []
    while len(found) < 9:
        last = found[-1].data_interval if found else None
        new = dag.timetable.next_dagrun_info(last_automated_data_interval=last, restriction=limits)
        if new is None:
            break
        found.append(new)
    return found


def test_a_param_says_under_which_heading_it_stands() -> None:
    params = {"a": {"type": "integer", "default": 1}, "b": {"type": "integer", "default": 1, "section": "Training"}}
    dag = dags_of(plan(params=params).model_dump_json(), file="/bundle/p.py")["p"]
    sections = [dag.params.get_param(name).schema["section"] for name in ("a", "b")]
    assert sections == ["Pipeline", "Training"]


def test_a_rollout_s_form_asks_for_a_version() -> None:
    dag = dags_of(plan().model_dump_json(), file="/bundle/p.py")["p__rollout"]
    assert {name: dag.params[name] for name in dag.params} == {"version": None, "at_once": False}


def test_the_form_offers_the_steps_to_do_anew_and_takes_no_other() -> None:
    param = dags_of(plan().model_dump_json(), file="/bundle/p.py")["p"].params.get_param("refresh")
    steps = ["check_rows", "transform", "train", "evaluate", "register"]
    assert (param.schema["examples"], param.value) == (steps, [])
    assert [param.resolve(chosen) for chosen in (["train", "transform"], None)] == [["train", "transform"], None]
    for wrong in (["trian"], ["pin"]):
        with pytest.raises(ParamValidationError, match="is not one of"):
            param.resolve(wrong)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich", "America/New_York"])
def test_a_schedule_runs_from_its_first_to_its_last_day_of_its_own_zone(zone: str) -> None:
    days = [info.data_interval.start.in_timezone(zone) for info in runs(zone)]
    assert days == [at(2013, 6, day, tz=zone) for day in (1, 2)]


def test_a_topic_is_watched_by_the_triggerer_with_no_secret_in_what_it_is_given() -> None:
    arrival = {"arrival": {"source": "flights", "messages": 500, "wait": "5m"}}
    sources = {"flights": {"kafka": {"topic": "f"}, "columns": {"target": "long"}}}
    dag = dags_of(
        plan(schedule=arrival, sources=sources, monitor={"then": "alert"}).model_dump_json(), file="/bundle/p.py"
    )["p"]
    (asset,) = dag.schedule.objects
    (watcher,) = asset.watchers
    path, words = watcher.trigger.serialize()
    assert path == "tradewind.operators.arrival.ArrivalTrigger"
    assert words["arrival"] == {
        "source": "flights", "kafka": {"topic": "f", "connection": "kafka_default"}, "objects": None, "enough": 500,
        "wait": 300.0, "poll": 10.0, "project": None, "waits": False,
    }  # fmt: skip
