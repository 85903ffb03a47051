"""Telling people is a step like any other, which is told where in Airflow to look."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from tradewind.notifiers.slack import airflow_url, run_link
from tradewind.operators.step import StepOperator
from tradewind.plan.request import Run
from tradewind_runtime.contract.request import StepResult

if TYPE_CHECKING:
    from airflow.sdk import Context


class NotifyOperator(StepOperator):
    """The step `notify`, with deep links."""

    def do(self, run: Run, context: Context) -> StepResult:
        """Send the message."""
        dag_id, base = str(context["dag"].dag_id), airflow_url()
        links = {"link": run_link(dag_id, str(context["run_id"]))}
        if base:
            links["reports"] = f"{base}/tradewind/lake/{quote(dag_id)}"
        return self.launch(run, self.request(run, config={name: link for name, link in links.items() if link}))
