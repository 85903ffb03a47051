"""A plan's step as a pod. The one module that imports the Kubernetes operator: only plans with pods pay for it.

Whatever Kubernetes says of the pod, the lake decides: a result is success, even if the pod was lost
right after writing it; no result is failure, even after exit code 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

from tradewind.operators.links import links_of
from tradewind.operators.step import StepTask, fail
from tradewind.plan.model import Flow, Plan, PlanStep
from tradewind.plan.request import Run
from tradewind_runtime.contract.errors import StepError, TradewindError
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.launchers.exchange import Exchange
from tradewind_runtime.launchers.pod import CONTAINER, PodSettings, labels, pod, wanted

if TYPE_CHECKING:
    from airflow.sdk import Context

LOGS_EVERY = 5  # seconds; the triggerer reads them while the task holds no worker


class PodStepOperator(StepTask, KubernetesPodOperator):
    """Does one step of a plan in a pod, waiting for it in deferral.

    Args:
        plan: the whole plan.
        flow: which of its DAGs.
        step: which of that DAG's steps.
        code: the archive of the version's user code, beside the DAG's file.
    """

    ui_color = "#e8f0fe"

    def __init__(self, *, plan: Plan, flow: Flow, step: PlanStep, code: Path | None = None, **kwargs: Any) -> None:
        settings = PodSettings.model_validate(plan.kubernetes)
        super().__init__(
            kubernetes_conn_id=settings.connection,
            namespace=settings.namespace,
            base_container_name=CONTAINER,
            image_pull_policy=settings.image_pull_policy,
            random_name_suffix=False,
            durable=True,  # a worker that dies leaves the pod, and the next try finds it again
            deferrable=True,
            do_xcom_push=False,  # no side-car: results are in the lake
            get_logs=True,
            logging_interval=LOGS_EVERY,
            on_finish_action="delete_pod",
            on_kill_action="delete_pod",
            schedule_timeout_seconds=settings.pending_timeout,
            startup_timeout_seconds=settings.pending_timeout,
            termination_grace_period=settings.grace,
            termination_message_policy="FallbackToLogsOnError",
            log_events_on_failure=True,
            log_pod_spec_on_failure=False,
            **kwargs,
        )
        self.operator_extra_links = links_of(step.kind)
        self.plan = plan
        self.flow = flow
        self.step = step
        self.code = code
        self.settings = settings

    def execute(self, context: Context) -> None:
        """Adopt the step's result, or start its pod and wait."""
        run = self.run_of(context)
        try:
            self.skip_unless_wanted(run)
            exchange = self.exchange(run)
            if (done := exchange.result()) is not None:
                self.log.info("already done by run %s: adopting result %s", done.run_id, done.fingerprint[:12])
                self._finish(run, exchange.request, done, context)
                return
            self.bring_code(run.documents)
            self.ask_for(exchange.request, attempt=context["ti"].try_number)
            exchange.begin()
        except TradewindError as error:
            fail(error)
        super().execute(context)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> None:
        """The pod has ended, or nobody knows: look for the result."""
        how = "ended with exit code 0"
        try:
            super().trigger_reentry(context, event)
        except Exception as error:  # whatever became of the pod, the lake decides
            how = self._ending() or f"was lost: {error}"
        run = self.run_of(context)
        with self.explained(context):
            exchange = self.exchange(run)
            done = exchange.result()
            if done is None:
                more = "give it more memory: resources: {memory: …}"
                raise exchange.reason(how, fix=more if "OOMKilled" in how else "see the log and the pod's events above")
            self._finish(run, exchange.request, done, context)

    def exchange(self, run: Run) -> Exchange:
        """The step's request in this run; its environment is the image."""
        return Exchange(run.request(self.step, environment=self.step_image), run.documents)

    def ask_for(self, request: StepRequest, *, attempt: int) -> None:
        """The pod that the operator will start, or find running."""
        resources = wanted(self.step.kind, self.step.resources, self.settings)
        image, timeout = self.step_image, self.step.timeout
        body = pod(request, self.settings, image=image, resources=resources, timeout=timeout, attempt=attempt)
        self.full_pod_spec = PodGenerator.deserialize_model_dict(body)
        self.name = body["metadata"]["name"]
        self.labels = labels(request)

    @property
    def step_image(self) -> str:
        """The image that the step asks for, else the one of its environment."""
        if asked := wanted(self.step.kind, self.step.resources, self.settings).image:
            return asked
        named = self.plan.environments.get(self.step.environment, {}).get("image")
        if not named:
            raise StepError(
                "TW593", f"the profile {self.plan.profile!r} names no image for {self.step.environment!r}",
                retryable=False, fix=f"environments: {{{self.step.environment}: {{image: …}}}}",
            )  # fmt: skip
        return str(named)

    def _ending(self) -> str | None:
        """How the container ended, as Kubernetes saw it last."""
        statuses = (self.pod.status.container_statuses if self.pod and self.pod.status else None) or []
        for status in statuses:
            if status.name == CONTAINER and status.state and (ended := status.state.terminated):
                return f"ended with exit code {ended.exit_code} ({ended.reason})"
        return None

    def _finish(self, run: Run, request: StepRequest, done: StepResult, context: Context) -> None:
        run.record(request)
        context["ti"].xcom_push(key="return_value", value=self.told(done, context))
