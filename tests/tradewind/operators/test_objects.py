"""A run that waits for its objects: deferred while nothing is there, on once something is, an error when time is up."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.triggers.base import TriggerEvent
from tests.tradewind.operators.landing import Landing, know

from tradewind.dev.servers.s3 import S3
from tradewind.operators.lease import lease_name
from tradewind.operators.objects import ObjectsTrigger
from tradewind.operators.pin import PinOperator
from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind.plan.request import Run
from tradewind_runtime import leases, retraining
from tradewind_runtime.contract.errors import Problem
from tradewind_runtime.contract.pins import PinConfig, Pins
from tradewind_runtime.contract.sources import ObjectsSource, Source
from tradewind_runtime.documents import Documents

pytestmark = pytest.mark.server
FIRST = datetime(2013, 6, 1, tzinfo=UTC)


class Task:
    """The first task of a run of the first of June."""

    def __init__(self, folder: Path, objects: ObjectsSource, kind: str = "scheduled") -> None:
        config = PinConfig(sources={"weather": Source(objects=objects)})
        used = {"source:weather": objects.connection} if objects.connection else {}
        body = config.model_dump(mode="json", exclude_none=True)
        step = PlanStep(id="pin", kind="pin", windowed=True, every_run=True, config=body, connections=used)
        dag = PlanDag(dag_id="p", flow="train", steps=(step, PlanStep(id="ingest", kind="ingest", windowed=True)))
        self.plan = Plan(
            pipeline="p", profile="local", file="p.yaml", lake=f"file://{folder}/a lake", pool="heavy",
            environments={"steps": {"python": sys.executable}}, dags=(dag,),
        )  # fmt: skip
        self.documents = Documents(self.plan.lake)
        self.operator = PinOperator(plan=self.plan, flow="train", step=step, task_id="pin")
        self.context: Any = {
            "params": {}, "run_id": "r1", "dag": SimpleNamespace(dag_id="p"),
            "dag_run": SimpleNamespace(run_type=kind), "ti": SimpleNamespace(),
            "data_interval_start": FIRST, "data_interval_end": FIRST + timedelta(days=1),
        }  # fmt: skip

    def deferred(self) -> ObjectsTrigger:
        """What it waits for, as the triggerer of another machine gets it."""
        with pytest.raises(TaskDeferred) as waits:
            self.operator.execute(self.context)
        assert waits.value.method_name == "came"
        assert isinstance(waits.value.trigger, ObjectsTrigger)
        path, words = waits.value.trigger.serialize()
        assert path == f"{ObjectsTrigger.__module__}.{ObjectsTrigger.__name__}"
        assert waits.value.timeout is None
        return ObjectsTrigger(**json.loads(json.dumps(words)) | {"poll": 0.1})

    @property
    def held(self) -> bool:
        """Whether its run has the lease."""
        return leases.current(self.documents, lease_name(self.plan, "train")) is not None

    @property
    def pins(self) -> Pins | None:
        return Run(self.plan, "train", "r1", self.documents).pins()


async def first_event(trigger: ObjectsTrigger) -> TriggerEvent:
    return await anext(aiter(trigger.run()))


async def wakes(trigger: ObjectsTrigger, written: list[Any]) -> TriggerEvent:
    """By the last of what is written meanwhile, and by nothing before."""
    waits = asyncio.create_task(first_event(trigger))
    for write in written:
        await asyncio.sleep(1)
        assert not waits.done()
        await asyncio.to_thread(write)
    return await asyncio.wait_for(waits, 60)


def test_nothing_is_there_then_an_object_of_the_window_comes_and_the_run_goes_on(
    s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(s3_server, monkeypatch)
    landing = Landing(s3_server)
    landing.write("2013-05-31/a.csv")
    task = Task(tmp_path, landing.source("{window.date}/*.csv", wait="1h"))
    trigger = task.deferred()
    assert (task.held, task.pins) == (False, None), "others may run meanwhile"
    assert s3_server.secret not in json.dumps(trigger.serialize()[1])

    written = [lambda: landing.write("2013-06-02/a.csv"), lambda: landing.write("2013-06-01/b.csv")]
    event = asyncio.run(wakes(trigger, written))
    monkeypatch.setenv("AIRFLOW_CONN_LANDING", s3_server.connections()["s3_default"])
    task.operator.came(task.context, event.payload)
    assert task.pins is not None
    assert list(task.pins.sources["weather"]) == ["2013-06-01/b.csv"]
    assert task.held


def test_what_is_there_is_not_waited_for_nor_is_what_a_backfill_does_not_read(
    s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(s3_server, monkeypatch)
    landing = Landing(s3_server)
    waiting = landing.source("*.csv", wait="1h")
    (tmp_path / "1").mkdir()
    backfill = Task(tmp_path / "1", waiting, kind="backfill")
    backfill.operator.execute(backfill.context)
    assert backfill.pins is not None
    assert backfill.pins.sources == {"weather": None}
    landing.write("a.csv")
    task = Task(tmp_path, waiting)
    task.operator.execute(task.context)
    assert task.pins is not None
    assert list(task.pins.sources["weather"]) == ["a.csv"]


def test_when_time_is_up_the_run_fails_for_good_and_says_what_has_not_come(
    s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(s3_server, monkeypatch)
    landing = Landing(s3_server)
    task = Task(tmp_path, landing.source("{window.date}/*.csv", wait="2s"))
    event = asyncio.run(asyncio.wait_for(first_event(task.deferred()), 60))
    with pytest.raises(AirflowFailException) as failed:
        task.operator.came(task.context, event.payload)
    said = str(failed.value)
    assert f"TW535 [sources.weather.objects.wait]: s3://{landing.name}/{{window.date}}/*.csv was waited for 2s" in said
    assert "nothing at 2013-06-01/*.csv" in said
    (reason,) = (path for path in task.documents.names("runs") if path.endswith(".error.json"))
    assert json.loads(task.documents.get(reason) or b"")["problems"][0]["code"] == "TW535"
    assert not task.held


def test_a_store_that_does_not_answer_is_asked_again_and_told_of_when_time_is_up(
    s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(s3_server, monkeypatch)
    landing = Landing(s3_server, there=False)
    task = Task(tmp_path, landing.source("*.csv", wait="1h"))
    assert asyncio.run(wakes(task.deferred(), [landing.make, lambda: landing.write("a.csv")])).payload == {}

    missing = Landing(s3_server, there=False)
    impatient = Task(tmp_path, missing.source("*.csv", wait="1s")).deferred()
    problem = Problem.model_validate(asyncio.run(asyncio.wait_for(first_event(impatient), 60)).payload["problem"])
    assert problem.code == "TW535"
    assert problem.got.startswith("the store cannot be listed")


def test_a_connection_that_opens_no_store_fails_at_once(
    s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(s3_server, monkeypatch)
    task = Task(tmp_path, ObjectsSource(uri="gs://landing/*.csv", connection="landing", wait=timedelta(hours=1)))
    with pytest.raises(AirflowFailException, match="TW525: no gs:// is opened by a connection of type 'aws'"):
        task.operator.execute(task.context)
    assert not task.held


def test_each_source_is_waited_for_as_long_as_it_says(tmp_path: Path) -> None:
    """A folder's, which need not be there."""
    late = {"uri": f"file://{tmp_path}/late/*.csv", "wait": 1.0}
    soon = {"uri": f"file://{tmp_path}/soon/*.csv", "wait": 3600.0}

    def write(name: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text("n\n1\n")

    both = ObjectsTrigger({"late": late, "soon": soon}, since=datetime.now(UTC).isoformat(), poll=0.1)
    event = asyncio.run(asyncio.wait_for(first_event(both), 30))
    assert event.payload["problem"]["path"] == "sources.late.objects.wait"
    write("late")
    again = ObjectsTrigger({"late": late, "soon": soon}, since=datetime.now(UTC).isoformat(), poll=0.1)
    assert asyncio.run(wakes(again, [lambda: None, lambda: write("soon")])).payload == {}


def test_where_the_triggerer_cannot_look_time_is_up_all_the_same(s3_server: S3, tmp_path: Path) -> None:
    """Nobody has told it of the connection; the task, which can look, does not begin to wait anew."""
    nobody = {"uri": "s3://landing/*.csv", "connection": "unheard_of", "wait": 1.0}
    trigger = ObjectsTrigger({"weather": nobody}, since=datetime.now(UTC).isoformat(), poll=0.1)
    problem = asyncio.run(asyncio.wait_for(first_event(trigger), 60)).payload["problem"]
    assert problem["code"] == "TW535"
    assert problem["got"].startswith("the triggerer cannot look: ")


def test_who_waits_takes_no_request_to_retrain_from_others(
    s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(s3_server, monkeypatch)
    task = Task(tmp_path, Landing(s3_server).source("{window.date}/*.csv", wait="1h"))
    asked: list[Any] = []
    monkeypatch.setattr(task.operator, "_requests", lambda how, *_: asked.append(how) or [])
    task.deferred()
    assert asked == [retraining.due]
