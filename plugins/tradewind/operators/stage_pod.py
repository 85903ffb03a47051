"""A stage whose replay is a pod: on the cluster's network, with a token that only Secrets hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tradewind.operators.kubernetes import PodStepOperator
from tradewind.operators.stage import StageTask
from tradewind.plan.model import PlanStep
from tradewind.plan.replay import replay_of
from tradewind.plan.request import Run
from tradewind_runtime.contract.request import StepRequest, StepResult

if TYPE_CHECKING:
    from airflow.sdk import Context


class PodStageOperator(StageTask, PodStepOperator):
    """It has no pod unless there is something to replay."""

    def execute(self, context: Context) -> None:
        """Begin the stage."""
        self._tell(self.begin(context), context)

    def judged(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Act on what the trigger saw."""
        told = super().judged(context, event)
        self._tell(told, context)
        return told

    @property
    def done_in_pod(self) -> PlanStep:
        """The replay."""
        return replay_of(self.step)

    def replay(self, run: Run, context: Context) -> None:
        """Start the pod, and wait for it in deferral; a retry adopts what an earlier try has replayed."""
        exchange = self.exchange(run)
        if exchange.result() is None:
            self.bring_code(run.documents)
            self.start(exchange, context)

    def _finish(self, run: Run, request: StepRequest, done: StepResult, context: Context) -> None:
        self.log.info("replayed %d captured rows", done.metrics.get("rows", 0))
        run.record(request)
        with self.explained(context):
            self.wait(run, replayed=True)

    @staticmethod
    def _tell(told: dict[str, Any], context: Context) -> None:
        context["ti"].xcom_push(key="return_value", value=told)
