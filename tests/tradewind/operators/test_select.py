"""Which version a rollout takes that had to wait for another one: what is newest when its turn comes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from tradewind.operators.lease import lease_name
from tradewind.operators.select import SelectOperator
from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind_runtime import leases
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import moves
from tradewind_runtime.registries import Registration, registry

DIGESTS = {"1": "a" * 64, "2": "b" * 64, "3": "c" * 64}


def select_step(folder: Path, id: str, *upstream: str) -> PlanStep:
    return PlanStep(
        id=id, kind="select", every_run=True, upstream=upstream, config={"model": "m", "endpoint": "m"},
        settings={"mlflow_uri": f"sqlite:///{folder}/mlflow.db"},
    )  # fmt: skip


@pytest.fixture(params=["automatic", "human"])
def plan(tmp_path: Path, request: pytest.FixtureRequest) -> Plan:
    steps = [select_step(tmp_path, "select")]
    if request.param == "human":
        steps += [PlanStep(id="approve", kind="approve", upstream=("select",))]
        steps += [select_step(tmp_path, "confirm", "approve")]
    dag = PlanDag(dag_id="p__rollout", flow="rollout", steps=tuple(steps))
    return Plan(
        pipeline="p", profile="local", file="p.yaml", lake=f"file://{tmp_path}/a lake", pool="heavy", model="m",
        environments={"steps": {"python": sys.executable}}, dags=(dag,),
    )  # fmt: skip


def ask(plan: Plan, run_id: str, step: PlanStep) -> dict[str, Any]:
    context: Any = {
        "params": {},
        "run_id": run_id,
        "dag": SimpleNamespace(dag_id="p__rollout"),
        "dag_run": SimpleNamespace(run_type="asset_triggered"),
        "ti": SimpleNamespace(get_dagrun_state=lambda **_: "running"),
    }
    return SelectOperator(plan=plan, flow="rollout", step=step, task_id=step.id).execute(context)


def challenge(plan: Plan, version: str) -> None:
    uri = plan.dags[0].steps[0].settings["mlflow_uri"]
    made = Registration(model="m", digest=DIGESTS[version], experiment="m", challenger=True)
    registry("mlflow").register(uri, made)


def test_who_waited_for_another_rollout_takes_what_is_newest_then(plan: Plan) -> None:
    documents, steps = Documents(plan.lake), plan.dags[0].steps
    last = steps[-1]
    for version in ("1", "2"):
        challenge(plan, version)
    if len(steps) > 1:  # whom a person is asked about holds nobody up meanwhile
        ask(plan, "r2", steps[0])
        assert leases.current(documents, lease_name(plan, "rollout")) is None
    assert ask(plan, "r2", last)["facts"]["version"] == "2"
    with pytest.raises(TaskDeferred):
        ask(plan, "r3", last)
    challenge(plan, "3")
    held = leases.current(documents, lease_name(plan, "rollout"))
    assert held is not None
    assert held.run == "r2"
    leases.release(documents, held)
    assert ask(plan, "r3", last)["facts"]["version"] == "3"


def test_nothing_to_roll_out_holds_nobody_up(plan: Plan) -> None:
    documents, last = Documents(plan.lake), plan.dags[0].steps[-1]
    challenge(plan, "1")
    moves.promote(documents, "m", DIGESTS["1"], expected=0, by="somebody", reason="first")
    with pytest.raises(AirflowSkipException, match="rolled out before"):
        ask(plan, "r1", last)
    assert leases.current(documents, lease_name(plan, "rollout")) is None
