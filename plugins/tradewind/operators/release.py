"""The last task of a run, whatever came before it: give the lease back, and tell how the run went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from tradewind.operators.pin import release_lease
from tradewind.operators.step import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReleaseOperator(StepOperator):
    """Releases the run's lease; a teardown, so that it also runs after a failure.

    It fails where another task has. Airflow skips what comes after the running task of a run that a person marks
    failed, and would by its other leaves, which are skipped, take such a run for a success.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Release what this run holds; nothing where it holds nothing."""
        released = release_lease(self.plan, self.flow, self.run_of(context).documents, context)
        if failed := self._failed(context):
            raise AirflowFailException(f"the run has failed: see {', '.join(failed)}")
        return {"released": released}

    def _failed(self, context: Context) -> list[str]:
        dag_id, run_id = str(context["dag"].dag_id), str(context["run_id"])
        states = context["ti"].get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
        return sorted(id for id, state in states.items() if state == "failed" and id != self.task_id)
