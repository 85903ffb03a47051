"""A plan's step as a task: make the request, start it where the plan says, pass on its lines, read its result."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from tradewind import usage
from tradewind.operators.connections import connection_text
from tradewind.operators.links import addresses, links_of
from tradewind.plan.model import Flow, Plan, PlanStep
from tradewind.plan.request import Run
from tradewind_runtime.connections import Connection as StepConnection
from tradewind_runtime.connections import store_options
from tradewind_runtime.contract.errors import TradewindError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.contract.usage import Usage
from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers.exchange import usage_of
from tradewind_runtime.launchers.process import Launch, environment_digest

if TYPE_CHECKING:
    from airflow.sdk import Context


class StepTask:
    """What every operator of a step does, wherever the step's process runs."""

    plan: Plan
    flow: Flow
    step: PlanStep
    code: Path | None
    links: Mapping[str, str] = {}
    outlets: list[Any]
    if TYPE_CHECKING:
        log: Any

    def run_of(self, context: Context) -> Run:
        """The run, as the plan sees it."""
        params = dict(context["params"])
        refresh = params.get("refresh") or []
        own = {name: params[name] for name in self.plan.dag(self.flow).params if name in params}
        return Run(self.plan, self.flow, str(context["run_id"]), documents_of(self.plan), own, frozenset(refresh))

    def skip_unless_wanted(self, run: Run) -> None:
        """Skip where the step that this one hangs on said no."""
        if (reason := run.refusal(self.step)) is not None:
            raise AirflowSkipException(reason)

    def told(self, result: StepResult, context: Context) -> dict[str, Any]:
        """The summary that the task shows; links go to its Details tab, and the window with the assets' events."""
        self.show(result.links, context)
        self.announce(context)
        run = self.run_of(context)
        used = self.tell_usage(run, result) if result.run_id == run.key else None
        verdict = result.verdict.model_dump(mode="json") if result.verdict else None
        outputs = {name: output.model_dump(mode="json") for name, output in result.outputs.items()}
        body = {
            "metrics": result.metrics,
            "facts": result.facts,
            "outputs": outputs,
            "verdict": verdict,
            "usage": used.model_dump(mode="json") if used else None,
            "adopted_from": result.run_id,
            "result": f"results/{result.step}/{result.fingerprint}.json",
        }
        if verdict:
            self.log.info("verdict: %s", "; ".join(["yes" if verdict["passed"] else "no", *verdict["reasons"]]))
        if result.metrics:
            self.log.info("metrics: %s", ", ".join(f"{name}={value:g}" for name, value in result.metrics.items()))
        return {name: value for name, value in body.items() if value}

    def tell_usage(self, run: Run, of: StepRequest | StepResult) -> Usage | None:
        """What the step used, in the log; with a word where it had much more than it needed."""
        used = usage_of(run.documents, of)
        if used is None:
            return None
        self.log.info("used: %s", usage.told(used))
        for idle in usage.idle(used):
            self.log.warning("%s", idle)
        if (more := usage.too_much(used)) is not None:
            self.log.info("%s", more)
        return used

    def announce(self, context: Context) -> None:
        """Who comes after a table or a model is told what this run was about."""
        pins = self.run_of(context).pins()
        for asset in self.outlets:
            if pins is not None:
                context["outlet_events"][asset].extra = {"window": pins.window.model_dump(mode="json")}

    def show(self, links: Mapping[str, str], context: Context) -> None:
        """Links for the Details tab, which Airflow asks for when the task has ended."""
        self.links = addresses(links, str(context["dag"].dag_id))

    def explain(self, error: TradewindError, context: Context) -> NoReturn:
        """Fail, with what the step left to look at."""
        self.show({title: link for problem in error.problems for title, link in (problem.links or {}).items()}, context)
        fail(error)

    @contextmanager
    def explained(self, context: Context) -> Iterator[None]:
        """Whatever fails for a known reason within it is told as such."""
        try:
            yield
        except TradewindError as error:
            self.explain(error, context)

    def bring_code(self, documents: Documents) -> None:
        """The version's user code goes to the lake before the first request that needs it."""
        digest = self.plan.code_archive
        if digest is None or self.code is None:
            return
        path = f"code/{digest}.tar.gz"
        if not any(True for _ in documents.names(path)) and documents.get(path) is None:
            documents.create(path, self.code.read_bytes())


class StepOperator(StepTask, BaseOperator):
    """Does one step of a plan in a process of this machine.

    Args:
        plan: the whole plan.
        flow: which of its DAGs.
        step: which of that DAG's steps.
        code: the archive of the version's user code, beside the DAG's file.
    """

    ui_color = "#e8f4f8"

    def __init__(self, *, plan: Plan, flow: Flow, step: PlanStep, code: Path | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.operator_extra_links = links_of(step)
        self.plan = plan
        self.flow = flow
        self.step = step
        self.code = code
        self._launch: Launch | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step, or adopt its result.

        Returns:
            What a person wants to see of it: metrics, facts, verdict.
        """
        run = self.run_of(context)
        with self.explained(context):
            self.skip_unless_wanted(run)
            return self.told(self.do(run, context), context)

    def do(self, run: Run, context: Context) -> StepResult:
        """The step's result; operators of one kind of step override this."""
        del context
        return self.launch(run, self.request(run))

    def request(
        self, run: Run, *, window: Window | None = None, config: Mapping[str, Any] | None = None
    ) -> StepRequest:
        """The step's request in a run."""
        return run.request(self.step, window=window, config=config, environment=environment_digest(self.python))

    @property
    def python(self) -> str:
        """The interpreter of the step's environment."""
        named = self.plan.environments.get(self.step.environment, {}).get("python")
        if not named:
            msg = f"the profile {self.plan.profile!r} names no Python for the environment {self.step.environment!r}"
            raise AirflowFailException(msg)
        return str(named)

    def launch(self, run: Run, request: StepRequest) -> StepResult:
        """Start the request, wait for its end and note its result in the run."""
        self.bring_code(run.documents)
        connections = {id: connection_text(id) for id in sorted(set(request.connections.values()))}
        self._launch = Launch(
            request, run.documents, self.python, connections,
            on_line=lambda line: self.log.info("%s", line),
            parent=os.getppid(),  # the task's supervisor: once it was killed, another attempt begins
        )  # fmt: skip
        try:
            result = self._launch.run()
        except TradewindError:
            self.tell_usage(run, request)
            raise
        run.record(request)
        return result

    def on_kill(self) -> None:
        """Cancelling, clearing and time-outs stop what was started, children too."""
        if self._launch is not None:
            self._launch.stop()


def documents_of(plan: Plan) -> Documents:
    """The plan's lake, by its Airflow connection where it has one."""
    if plan.lake_connection is None:
        return Documents(plan.lake)
    text = connection_text(plan.lake_connection)
    return Documents(plan.lake, store_options(StepConnection.parse(plan.lake_connection, text)))


def fail(error: TradewindError) -> NoReturn:
    """Fail the task with the reason in its last line; for good where doing it again cannot help."""
    kind = AirflowException if getattr(error, "retryable", False) else AirflowFailException
    raise kind(str(error)) from None
