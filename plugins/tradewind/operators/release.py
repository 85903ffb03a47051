"""The last task of a run, whatever came before it: give the lease back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tradewind.operators.pin import release_lease
from tradewind.operators.step import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReleaseOperator(StepOperator):
    """Releases the run's lease; a teardown, so that it also runs after a failure."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Release what this run holds; nothing where it holds nothing."""
        return {"released": release_lease(self.plan, self.flow, self.run_of(context).documents, context)}
