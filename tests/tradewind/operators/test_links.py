"""Links on a task's Details tab: which a task may show, and where one leads, also where the step fails."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from tradewind.operators.links import LINKS, links_of
from tradewind.operators.step import StepOperator
from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind.plugin import TradewindPlugin
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest

HISTORY = {"spark": {"history": "https://history.example.com"}}
PAGE = "https://history.example.com/history/app-1/jobs/"


@pytest.mark.parametrize(
    ("step", "titles"),
    [
        ({"kind": "transform", "engine": "spark", "settings": HISTORY}, ["Spark"]),
        ({"kind": "ingest", "engine": "spark", "settings": HISTORY}, ["Spark"]),
        ({"kind": "check", "engine": "spark", "settings": HISTORY}, ["Data docs", "Spark"]),
        ({"kind": "check", "engine": "python", "settings": HISTORY}, ["Data docs"]),
        ({"kind": "transform", "engine": "duckdb", "settings": HISTORY}, []),
        ({"kind": "transform", "engine": "spark", "settings": {"spark": {"master": "local[2]"}}}, []),
        ({"kind": "transform", "engine": "spark", "settings": {"spark": None}}, []),
        ({"kind": "tune", "settings": HISTORY, "config": {"tune": {"workers": "spark"}}}, ["Spark"]),
        ({"kind": "tune", "settings": HISTORY, "config": {"tune": {"workers": "ray"}}}, []),
        ({"kind": "register"}, ["MLflow run", "Model version"]),
    ],
)
def test_a_task_has_the_links_that_its_step_may_leave(step: dict[str, Any], titles: list[str]) -> None:
    assert [link.name for link in links_of(PlanStep(id="step", **step))] == titles


def test_airflow_knows_each_link() -> None:
    keys = [link.xcom_key for link in LINKS]
    assert len(set(keys)) == len(keys)
    assert TradewindPlugin.operator_extra_links == list(LINKS)


@pytest.fixture
def task(tmp_path: Path) -> StepOperator:
    step = PlanStep(id="transform", kind="transform", engine="spark", settings=HISTORY)
    plan = Plan(
        pipeline="p", profile="local", file="p.yaml", lake=f"file://{tmp_path}/lake", pool="heavy",
        environments={"steps": {"python": sys.executable}}, dags=(PlanDag(dag_id="p", flow="train", steps=(step,)),),
    )  # fmt: skip
    return StepOperator(plan=plan, flow="train", step=step, task_id="transform")


def test_a_step_that_fails_has_its_link(task: StepOperator, monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(_run: object, _request: StepRequest) -> None:
        raise StepError("TW545", "Spark job spark_jobs/job.py: it failed", retryable=False, links={"Spark": PAGE})

    monkeypatch.setattr(task, "launch", launch)
    (link,) = task.operator_extra_links
    key: Any = None  # it is not asked for
    assert link.get_link(task, ti_key=key) == ""
    context: Any = {"params": {}, "run_id": "r", "dag": SimpleNamespace(dag_id="p")}
    with pytest.raises(AirflowFailException, match="TW545"):
        task.execute(context)
    assert link.get_link(task, ti_key=key) == PAGE
