"""A pipeline's steps here and now, in sequence, with no Airflow: what `tradewind run` does.

The same plan, the same steps, the same lake; no scheduler, no retries, no approvals.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tradewind.plan.code import UserCode
from tradewind.plan.holder import PROCESS, process_lives, this_process
from tradewind.plan.model import Plan, PlanStep
from tradewind.plan.request import Run
from tradewind_runtime import leases
from tradewind_runtime.connections import variable
from tradewind_runtime.contract.errors import Problem, TradewindError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.launchers.process import Launch, environment_digest
from tradewind_runtime.sources.listing import POLL, Waiting

State = Literal["done", "adopted", "skipped"]


@dataclass(frozen=True)
class StepReport:
    """What became of one step."""

    id: str
    state: State
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LocalRun:
    """One run of a plan's training flow, in this process's name.

    Args:
        plan: of a profile whose steps run in processes.
        run: where its documents lie.
        code: the project's user code, as the plan was built from it.
        window: what it is about; None where no step asks.
        connections: id → URI or JSON, besides `AIRFLOW_CONN_*`.
        on_line: called with a step's id and each line that it prints.
    """

    plan: Plan
    run: Run
    code: UserCode
    window: Window | None
    connections: Mapping[str, str] = field(default_factory=dict, repr=False)
    on_line: Callable[[str, str], None] = lambda _step, _line: None
    on_step: Callable[[PlanStep], None] = lambda _step: None

    def reports(self) -> Iterator[StepReport]:
        """Do each step when it is asked for.

        Raises:
            TradewindError: the first step's that fails, with its reason.
        """
        with self._lease():
            self.run.documents.create(f"code/{self.code.digest}.tar.gz", self.code.archive)
            for step in self.plan.dag("train").steps:
                if step.kind != "release":
                    self.on_step(step)
                    yield self._report(step)

    def _report(self, step: PlanStep) -> StepReport:
        began = time.monotonic()
        if (reason := self.run.refusal(step)) is not None:
            return StepReport(step.id, "skipped", 0.0, reason=reason)
        result = self._do(step)
        state: State = "done" if result.run_id == self.run.key else "adopted"
        reason = "; ".join(result.verdict.reasons) if result.verdict else ""
        outputs = {name: output.model_dump(mode="json") for name, output in result.outputs.items()}
        return StepReport(step.id, state, time.monotonic() - began, result.metrics, reason, outputs, result.facts)

    def _do(self, step: PlanStep) -> StepResult:
        python = str(self.plan.environments.get(step.environment, {}).get("python"))
        request = self.run.request(
            step, window=self._window() if step.kind == "pin" else None, environment=environment_digest(python)
        )
        known = dict(self.connections) | {
            id: os.environ[variable(id)] for id in request.connections.values() if variable(id) in os.environ
        }
        kept = {use: id for use, id in request.connections.items() if use != "registry" or id in known}
        request = request.model_copy(update={"connections": kept})
        given = {id: known[id] for id in kept.values() if id in known}
        if step.kind == "pin" and self.run.pins() is None:
            self._wait(request, given)
        result = Launch(
            request, self.run.documents, python, given, on_line=lambda line: self.on_line(step.id, line)
        ).run()
        self.run.record(request)
        return result

    def _wait(self, request: StepRequest, given: Mapping[str, str]) -> None:
        """Until what is waited for is there: here nobody else wants the process."""
        waiting = Waiting.of(request, datetime.now(UTC))
        if not waiting.connections <= set(given):
            return  # the step says so
        ways = waiting.ways(request, given)
        told = False
        while missing := waiting.missing(ways, datetime.now(UTC)):
            if not told:
                uris = ", ".join(one.uri for one in missing.values())
                self.on_line(request.id, f"nothing is there yet; waiting for {uris}")
            told = True
            time.sleep(POLL)

    def _window(self) -> Window:
        if self.window is not None:
            return self.window
        if any(step.windowed for step in self.plan.dag("train").steps if step.kind != "pin"):
            raise TradewindError(
                Problem(
                    code="TW220",
                    message="this pipeline works on a window of time",
                    expected="--window START END",
                    fix=f"tradewind run {self.plan.file} --window 2013-01-01 2013-04-01",
                )
            )
        now = datetime.now(UTC)
        return Window(start=now - timedelta(days=1), end=now)

    @contextmanager
    def _lease(self) -> Iterator[None]:
        name = leases.flow_lease(self.plan.pipeline, "train")
        holder = this_process()
        lease = leases.acquire(self.run.documents, name, holder, self.run.run_id, _ended)
        if lease is None:
            held = leases.current(self.run.documents, name)
            raise TradewindError(
                Problem(
                    code="TW222",
                    message=f"another run of {self.plan.pipeline!r} is under way",
                    got=f"{held.holder} {held.run}" if held else None,
                    fix="wait for its end, or stop it",
                )
            )
        try:
            yield
        finally:
            leases.release(self.run.documents, lease)


def _ended(lease: leases.Lease) -> bool:
    return lease.holder.startswith(PROCESS) and not process_lives(lease.holder)
