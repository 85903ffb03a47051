"""A plan's step as a pod. The one module that imports the Kubernetes operator: only plans with pods pay for it.

Whatever Kubernetes says of the pod, the lake decides: a result is success, even if the pod was lost
right after writing it; no result is failure, even after exit code 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from kubernetes.client import ApiException, V1ObjectMeta, V1Pod  # type: ignore[import-untyped]

from tradewind import usage
from tradewind.operators.links import links_of
from tradewind.operators.step import StepTask, fail
from tradewind.plan.model import Flow, Plan, PlanStep
from tradewind.plan.request import Run
from tradewind.pods.attempts import Attempts, nodes_to_avoid, times_out_of_memory
from tradewind.pods.ending import GUIDE, Ending, gone, refused
from tradewind.pods.informer import EVERY
from tradewind.pods.probes import image_of
from tradewind.pods.refusals import said
from tradewind.pods.watch import PodWatch
from tradewind_runtime.contract.errors import TradewindError
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.contract.resources import grown
from tradewind_runtime.launchers.exchange import Exchange
from tradewind_runtime.launchers.pod import CONTAINER, PodSettings, labels, pod, wanted

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger


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
            logging_interval=EVERY,
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
        self.operator_extra_links = links_of(step)
        self.plan = plan
        self.flow = flow
        self.step = step
        self.code = code
        self.settings = settings

    @property
    def done_in_pod(self) -> PlanStep:
        """What the pod does; of most tasks their step."""
        return self.step

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
        except TradewindError as error:
            fail(error)
        self.start(exchange, context)

    def start(self, exchange: Exchange, context: Context) -> None:
        """Start a pod, or find it running, and wait in the triggerer."""
        endings = Attempts(exchange.documents, exchange.request).endings()
        try:
            self.ask_for(exchange.request, endings, attempt=context["ti"].try_number)
            exchange.begin()
            super().execute(context)
        except TradewindError as error:
            fail(error)
        except ApiException as error:
            self.give_up(exchange, refused(int(error.status or 0), said(error)), context)

    def defer(self, *, trigger: BaseTrigger, **rest: Any) -> NoReturn:
        """Of a pod, with a trigger that knows what may become of it."""
        if isinstance(trigger, KubernetesPodTrigger):
            trigger = PodWatch(**trigger.serialize()[1], autoscaled=self.settings.autoscaled)
        super().defer(trigger=trigger, **rest)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> None:
        """The pod has ended, or will not start: take its result, start another, or say why."""
        ending = Ending.model_validate(event["ending"]) if event.get("ending") else None
        for line in event.get("log") or ():
            self.log.info("%s", line)
        try:
            self._leave(event["name"], ending)
        except Exception as error:  # whatever became of the pod, the lake decides
            self.log.warning("the pod is left behind, and will end by itself: %s", error)
        run = self.run_of(context)
        with self.explained(context):
            exchange = self.exchange(run)
            done = exchange.result()
        if done is not None:
            self._finish(run, exchange.request, done, context)
            return
        self.give_up(exchange, ending or gone(None), context)

    def _leave(self, name: str, ending: Ending | None) -> None:
        """Tell what the trigger has not told, and delete the pod.

        Airflow's own way would first wait two seconds for the pod's phase, which comes after its container's end.
        """
        self.pod = V1Pod(metadata=V1ObjectMeta(name=name, namespace=self.settings.namespace))
        if ending is None:
            self._write_logs(self.pod)
        if ending is None or not (ending.well or ending.kind == "gone"):
            self._read_pod_container_states(self.pod, reraise=False)
            self._read_pod_events(self.pod, reraise=False)
        self.pod_manager.delete_pod(self.pod)
        if ending is not None and ending.kind == "node":
            self._forget(name)

    def give_up(self, exchange: Exchange, ending: Ending, context: Context) -> None:
        """Fail for a pod's ending; but where the cluster only took its node, start another at once."""
        attempts = Attempts(exchange.documents, exchange.request)
        attempts.add(ending)
        disrupted = sum(one.kind == "disrupted" for one in attempts.endings())
        if ending.kind == "disrupted" and disrupted <= self.settings.disruptions:
            self.log.warning("step %r %s: this is no failure, another pod goes on", self.step.id, ending.how)
            self.pod = self.pod_request_obj = None
            self.start(exchange, context)
            return
        used = self.tell_usage(self.run_of(context), exchange.request)
        how = ending.how + (usage.peak(used) if ending.kind == "memory" else "")
        with self.explained(context):
            raise exchange.reason(how, code=ending.code, fix=ending.fix, retryable=ending.retryable, docs=GUIDE)

    def _forget(self, name: str) -> None:
        """A pod whose node does not answer would stay until it does: nobody is there to end it."""
        with suppress(ApiException):
            self.client.delete_namespaced_pod(name, self.settings.namespace, grace_period_seconds=0)

    def exchange(self, run: Run) -> Exchange:
        """The step's request in this run; its environment is the image."""
        return Exchange(run.request(self.done_in_pod, environment=self.step_image), run.documents)

    def ask_for(self, request: StepRequest, endings: Sequence[Ending], *, attempt: int) -> None:
        """The pod that the operator will start, or find running."""
        step = self.done_in_pod
        asked = wanted(step.kind, step.resources, self.settings)
        resources = grown(asked, times_out_of_memory(endings))
        body = pod(
            request, self.settings, image=self.step_image, resources=resources, timeout=step.timeout,
            attempt=attempt + len(endings), avoid=nodes_to_avoid(endings), secrets=step.secrets,
        )  # fmt: skip
        self.full_pod_spec = PodGenerator.deserialize_model_dict(body)
        self.name = body["metadata"]["name"]
        self.labels = labels(request)

    @property
    def step_image(self) -> str:
        """The image that the step asks for, else the one of its environment."""
        return image_of(self.plan, self.done_in_pod)

    def _finish(self, run: Run, request: StepRequest, done: StepResult, context: Context) -> None:
        run.record(request)
        context["ti"].xcom_push(key="return_value", value=self.told(done, context))
