"""A plan's step in a run, as a request: the same for Airflow and for `tradewind run`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tradewind.errors import nearest
from tradewind.plan.model import Flow, Plan, PlanDag, PlanStep
from tradewind.plan.words import fill
from tradewind_runtime.contract.base import canonical
from tradewind_runtime.contract.errors import Problem, TradewindError
from tradewind_runtime.contract.pins import Pins, safe_run
from tradewind_runtime.contract.refs import DatasetRef, Output, Window
from tradewind_runtime.contract.request import CodeRef, StepRequest, StepResult
from tradewind_runtime.documents import Documents

#: Doing one of these anew is to ask for a training, also where `train: {when: asked}`.
TRAINING = frozenset({"tune", "train"})


def run_key(flow: Flow, run_id: str) -> str:
    """A run's name in the lake: Airflow's run id, told apart by flow, safe in a path."""
    safe = safe_run(run_id)
    return safe if flow == "train" else f"{flow}.{safe}"


def check_refresh(dag: PlanDag, names: Iterable[str]) -> None:
    """Hold what a person wants done anew against the steps that there are.

    Raises:
        TradewindError: TW228 for each that is none.
    """
    known = dag.refreshable
    if unknown := [name for name in names if name not in known]:
        raise TradewindError(
            *(
                Problem(
                    code="TW228",
                    message=f"{dag.dag_id!r} has no step {name!r} to do anew",
                    path="refresh",
                    got=name,
                    expected=", ".join(known),
                    suggestion=nearest(name, known),
                )
                for name in sorted(unknown)
            )
        )


@dataclass(frozen=True)
class Run:
    """One run of one flow: what has been pinned and what its steps have given so far."""

    plan: Plan
    flow: Flow
    run_id: str
    documents: Documents
    params: Mapping[str, Any] = field(default_factory=dict)
    refresh: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Its name in the lake."""
        return run_key(self.flow, self.run_id)

    @property
    def folder(self) -> str:
        """Where its documents lie."""
        return f"runs/{self.plan.pipeline}/{self.key}"

    @property
    def author(self) -> str:
        """Who moves an endpoint, as its generations say."""
        return f"{self.plan.dag(self.flow).dag_id}/{self.run_id}"

    def pins(self) -> Pins | None:
        """What it stands on, once its first step is done."""
        return self.documents.get_model(Pins.path(self.plan.pipeline, self.key), Pins)

    def result(self, step: str) -> StepResult | None:
        """What one of its steps gave."""
        pointer = self.documents.get(f"{self.folder}/results/{step}")
        return None if pointer is None else self.documents.get_model(pointer.decode(), StepResult)

    def refusal(self, step: PlanStep) -> str | None:
        """Why a step is to be skipped: the step that it hangs on said no. None where it is wanted."""
        if step.when is None:
            return None
        result = self.result(step.when)
        if result is None:
            return f"{step.when} was skipped"
        if result.verdict is None or result.verdict.passed:
            return None
        return f"{step.when}: {'; '.join(result.verdict.reasons) or 'no'}"

    def record(self, request: StepRequest) -> None:
        """Note which result is this run's. Doing it again overwrites it with the same."""
        self.documents.put(f"{self.folder}/results/{request.id}", request.result_path.encode())

    def leave_reason(self, step: str, problem: Problem) -> None:
        """Why a step failed that has no process of its own to leave its reason."""
        body = {"retryable": False, "problems": [problem.model_dump(mode="json")]}
        self.documents.put(f"{self.folder}/requests/{step}-{'0' * 12}.error.json", canonical(body))

    def request(
        self,
        step: PlanStep,
        *,
        window: Window | None = None,
        config: Mapping[str, Any] | None = None,
        environment: str | None = None,
    ) -> StepRequest:
        """The request of a step.

        Args:
            step: of the run's flow.
            window: for the first step, which decides it; later steps read the pins.
            config: laid over the step's own, such as the retrain requests that a run takes.
            environment: the digest of what is installed where it will run.

        Raises:
            TradewindError: TW211 where an upstream result is missing.
        """
        pins = self.pins()
        window = window or (pins.window if pins else None)
        asked = {"asked": True} if step.kind == "pin" and self.refresh & TRAINING else {}
        body = fill(step.config | asked | dict(config or {}), self.params, window)
        fresh = step.every_run or step.id in self.refresh
        archive = self.plan.code_archive
        return StepRequest(
            step=step.kind,
            id=step.id,
            pipeline=self.plan.pipeline,
            run_id=self.key,
            lake=self.plan.lake,
            engine=step.engine,
            config=body,
            pins=self._pins_of(step, pins),
            inputs=self._inputs_of(step),
            window=window if step.windowed else None,
            code=CodeRef(archive=archive, closure=step.closure) if step.closure and archive else None,
            environment=environment if step.computes else None,
            refresh=self.key if fresh else None,
            settings=step.settings,
            connections=step.connections,
        )

    def _pins_of(self, step: PlanStep, pins: Pins | None) -> dict[str, Any]:
        if not step.pins:
            return {}
        if pins is None:
            raise TradewindError(
                Problem(
                    code="TW211", message=f"the run {self.run_id!r} has no pins yet", fix="clear its first step, pin"
                )
            )
        body = pins.model_dump(mode="json")
        found = {}
        for name, path in step.pins.items():
            head, _, rest = path.partition(".")
            found[name] = body[head].get(rest) if rest else body[head]
        return found

    def _inputs_of(self, step: PlanStep) -> dict[str, Output]:
        found: dict[str, Output] = {}
        for name, source in step.inputs.items():
            if source.startswith("table:"):
                found[name] = self._pinned_table(source.removeprefix("table:"))
                continue
            upstream, _, output = source.partition(".")
            result = self.result(upstream)
            if result is None or output not in result.outputs:
                raise TradewindError(
                    Problem(
                        code="TW211",
                        message=f"step {step.id!r} needs {source!r}, which this run does not have",
                        fix=f"clear the task {upstream!r}",
                    )
                )
            found[name] = result.outputs[output]
        return found

    def _pinned_table(self, table: str) -> DatasetRef:
        pins = self.pins()
        if pins is None or table not in pins.tables:
            raise TradewindError(
                Problem(
                    code="TW211",
                    message=f"the run {self.run_id!r} has not pinned {table!r}",
                    fix="clear its first step, pin",
                )
            )
        return DatasetRef(table=table, version=pins.tables[table])
