"""The lease of a run: one at a time for each pipeline and flow, waited for in deferral."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowRuntimeError, AirflowSkipException, TaskDeferred

from tradewind.operators.step import StepOperator, StepTask, documents_of
from tradewind.operators.triggers import LeaseTrigger
from tradewind.plan.holder import PROCESS, process_lives
from tradewind.plan.model import Plan
from tradewind_runtime import leases
from tradewind_runtime.documents import Documents

if TYPE_CHECKING:
    from airflow.sdk import Context

ENDED = frozenset({"success", "failed"})


def lease_name(plan: Plan, flow: str) -> str:
    """One lease for each pipeline and flow; a rollout's is its endpoint's."""
    return f"endpoint-{plan.model}" if flow == "rollout" else leases.flow_lease(plan.pipeline, flow)


def release_lease(plan: Plan, flow: str, documents: Documents, context: Context) -> bool:
    """Give back the lease, where this run holds it."""
    lease = leases.current(documents, lease_name(plan, flow))
    mine = (str(context["dag"].dag_id), str(context["run_id"]))
    if lease is None or (lease.holder, lease.run) != mine:
        return False
    leases.release(documents, lease)
    return True


class LeasedTask(StepTask):
    """What a step does that first takes the run's lease, wherever its process runs."""

    if TYPE_CHECKING:
        defer: Callable[..., NoReturn]
        execute: Any

    def leased(self, context: Context, then: Callable[[Context], dict[str, Any]]) -> dict[str, Any]:
        """Do something under the lease.

        A run that is skipped gives it back at once, and so does one whose first task fails: the last one, which
        would, is then not begun.
        """
        documents = documents_of(self.plan)
        name = lease_name(self.plan, self.flow)
        holder, run_id = str(context["dag"].dag_id), str(context["run_id"])
        if leases.acquire(documents, name, holder, run_id, lambda held: self._ended(held, context)) is None:
            self.log.info("another run holds the lease %s; waiting", name)
            trigger = LeaseTrigger(lake=self.plan.lake, connection=self.plan.lake_connection, name=name)
            self.defer(trigger=trigger, method_name="resume")
        try:
            return then(context)
        except TaskDeferred:
            raise
        except BaseException as error:
            if isinstance(error, AirflowSkipException) or self.step.id == self.plan.dag(self.flow).steps[0].id:
                release_lease(self.plan, self.flow, documents, context)
            raise

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Ask again: only the asking decides."""
        del event
        return self.execute(context)

    @staticmethod
    def _ended(lease: leases.Lease, context: Context) -> bool:
        """Whether the run that holds a lease is over, as Airflow knows it."""
        if lease.holder.startswith(PROCESS):
            return not process_lives(lease.holder)
        return state_of(context, lease.holder, lease.run) in ENDED


def state_of(context: Context, dag_id: str, run_id: str) -> str:
    """A run's, as Airflow knows it; one that it does not know any more has failed."""
    try:
        return str(context["ti"].get_dagrun_state(dag_id=dag_id, run_id=run_id))
    except AirflowRuntimeError:
        return "failed"


class LeasedOperator(LeasedTask, StepOperator):
    """A step that first takes the run's lease."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Take the lease, then do the step."""
        return self.leased(context, super().execute)
