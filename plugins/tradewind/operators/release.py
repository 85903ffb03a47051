"""The last task of a run, whatever came before it: leave nothing of it, and tell how the run went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from tradewind.operators.lease import release_lease
from tradewind.operators.step import StepOperator
from tradewind.plan.request import Run
from tradewind_runtime import endpoints
from tradewind_runtime.endpoints import moves
from tradewind_runtime.launchers.pod import PodSettings

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReleaseOperator(StepOperator):
    """Releases the run's lease; a teardown, so that it also runs after a failure.

    It fails where another task has. Airflow skips what comes after the running task of a run that a person marks
    failed, and would by its other leaves, which are skipped, take such a run for a success.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Release what this run holds; nothing where it holds nothing.

        A canary of a rollout that has failed is withdrawn first: nobody would judge it any more.
        """
        run, failed = self.run_of(context), self._failed(context)
        why = f"the run has failed: see {', '.join(failed)}"
        if failed and self.flow == "rollout":
            with self.explained(context):
                self._withdraw(run, why)
        released = release_lease(self.plan, self.flow, run.documents, context)
        if self.plan.kubernetes:
            self._remove_pods(context)
        if failed:
            raise AirflowFailException(why)
        return {"released": released}

    def _remove_pods(self, context: Context) -> None:
        """Where the cluster does not answer they are left: no reason to take the run for a failure."""
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

        from tradewind.pods.leftovers import remove

        settings = PodSettings.model_validate(self.plan.kubernetes)
        try:
            client = KubernetesHook(conn_id=settings.connection).get_conn()
            for name in remove(client, settings.namespace, dag_id=context["dag"].dag_id, run_id=str(context["run_id"])):
                self.log.info("pod %s was left, and goes", name)
        except Exception as error:
            self.log.warning("whether pods are left is not known: %s", error)

    def _withdraw(self, run: Run, why: str) -> None:
        endpoint = str(self.plan.model)
        now = endpoints.latest(run.documents, endpoint)
        if now is not None and now.canary is not None and now.by == run.author:
            moves.abort_canary(run.documents, endpoint, expected=now.number, by=run.author, reason=why)

    def _failed(self, context: Context) -> list[str]:
        dag_id, run_id = str(context["dag"].dag_id), str(context["run_id"])
        states = context["ti"].get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
        return sorted(id for id, state in states.items() if state == "failed" and id != self.task_id)
