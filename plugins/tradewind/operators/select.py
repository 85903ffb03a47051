"""The first task of a rollout: is there a version to roll out, and is it still the one?

The last one to ask, before traffic goes anywhere, asks under the endpoint's lease: whoever waits for another rollout
then rolls out what is newest, and not what was so when it began to wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from tradewind.operators.lease import LeasedOperator
from tradewind.operators.pin import run_type
from tradewind.operators.step import StepOperator
from tradewind.plan.request import Run
from tradewind_runtime.contract.request import StepResult

if TYPE_CHECKING:
    from airflow.sdk import Context


class SelectOperator(LeasedOperator):
    """Skips the rest of the rollout where there is nothing to roll out, or something newer."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, under the lease where no person is asked afterwards."""
        if any(step.kind == "approve" and self.step.id in step.upstream for step in self.plan.dag(self.flow).steps):
            return StepOperator.execute(self, context)
        return super().execute(context)

    def do(self, run: Run, context: Context) -> StepResult:
        """Ask the registry and the endpoint."""
        by_hand = {"again": run_type(context) == "manual", "wanted": context["params"].get("version")}
        result = self.launch(run, self.request(run, config=by_hand))
        if result.verdict is not None and not result.verdict.passed:
            raise AirflowSkipException("; ".join(result.verdict.reasons))
        return result
