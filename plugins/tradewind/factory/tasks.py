"""One step's task: which operator, with which limits."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, BaseOperator

from tradewind.operators.notify import NotifyOperator
from tradewind.operators.pin import PinOperator
from tradewind.operators.release import ReleaseOperator
from tradewind.operators.select import SelectOperator
from tradewind.operators.serve import ServeOperator
from tradewind.operators.stage import StageOperator
from tradewind.operators.step import StepOperator
from tradewind.plan.model import Flow, Plan, PlanStep

#: Kinds that need more than "start the step and wait".
OPERATORS: dict[str, type[StepOperator]] = {
    "notify": NotifyOperator,
    "pin": PinOperator,
    "release": ReleaseOperator,
    "select": SelectOperator,
    "serve": ServeOperator,
    "stage": StageOperator,
}


def task_of(plan: Plan, flow: Flow, step: PlanStep, code: Path | None) -> BaseOperator:
    """The task of a step, inside the DAG that is being built."""
    common: dict[str, Any] = {
        "task_id": step.id,
        "owner": plan.owner or "tradewind",
        "retries": step.retries,
        "retry_delay": timedelta(seconds=step.retry_delay),
        "execution_timeout": timedelta(seconds=step.timeout) if step.timeout else None,
        "outlets": [Asset(uri=uri, name=uri) for uri in step.outlets],
        "doc_json": None,
    }
    if step.heavy:
        common["pool"] = plan.pool
    if step.kind == "approve":
        return _approval(plan, common)
    kind: type[BaseOperator] = OPERATORS.get(step.kind, StepOperator)
    if step.runner == "kubernetes" and kind is StepOperator:
        from tradewind.operators.kubernetes import PodStepOperator

        kind = PodStepOperator
    elif step.runner == "kubernetes" and kind is StageOperator:
        from tradewind.operators.stage_pod import PodStageOperator

        kind = PodStageOperator
    return kind(plan=plan, flow=flow, step=step, code=code, **common)


def _approval(plan: Plan, common: dict[str, Any]) -> BaseOperator:
    from airflow.providers.standard.operators.hitl import ApprovalOperator

    common |= {"pool": "default_pool", "execution_timeout": None}  # a person may take days, and holds no worker
    return ApprovalOperator(
        subject=f"Roll out a new version of {plan.model}?",
        body="{{ ti.xcom_pull(task_ids='select')['facts'] }}",
        fail_on_reject=False,
        **common,
    )
