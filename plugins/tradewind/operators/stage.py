"""One stage of a rollout: give the candidate its share, wait in deferral, and judge."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowFailException

from tradewind.operators.lease import LeasedTask
from tradewind.operators.step import StepOperator
from tradewind.operators.triggers import StageTrigger
from tradewind.plan.replay import replay_of
from tradewind.plan.request import Run
from tradewind_runtime import endpoints
from tradewind_runtime.contract.deploy import Deploy
from tradewind_runtime.contract.errors import Problem
from tradewind_runtime.contract.refs import ModelRef
from tradewind_runtime.endpoints import moves

if TYPE_CHECKING:
    from airflow.sdk import Context

FULL = 100  # percent


class StageTask(LeasedTask):
    """Moves an endpoint one stage on. Its task ends when the stage is judged; a bad one goes back at once."""

    def begin(self, context: Context) -> dict[str, Any]:
        """Make sure that the stage's generation is there, and wait."""
        with self.explained(context):
            return self.leased(context, self._begin)

    def judged(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Act on what the trigger saw."""
        with self.explained(context):
            return self._act(self.run_of(context), event, context)

    @abstractmethod
    def replay(self, run: Run, context: Context) -> None:
        """Send recent captures through both arms, and come back, or wait for the end of that in deferral."""

    def _act(self, run: Run, event: dict[str, Any], context: Context) -> dict[str, Any]:
        state, reasons = event["state"], "; ".join(event["reasons"])
        candidate = self._candidate(run)
        if state == "pass":
            self.log.info("%s: %s", self.step.id, reasons)
            return {
                "stage": self.step.config["weight"],
                "digest": candidate.digest,
                "version": candidate.version,
                "judgement": reasons,
            }
        if state == "replay":
            self.log.info("too little traffic (%s): replaying captured requests through both", reasons)
            self.replay(run, context)
            self.wait(run, replayed=True)
        if state == "fail":
            self._go_back(run, reasons)
            self._fail(run, "TW563", f"{candidate.name} version {candidate.version} was rolled back: {reasons}")
        return self._fail(run, "TW564", reasons)

    def _begin(self, context: Context) -> dict[str, Any]:
        run = self.run_of(context)
        self.skip_unless_wanted(run)
        if context["params"].get("at_once") and int(self.step.config["weight"]) < FULL:
            return {"stage": self.step.config["weight"], "judgement": "passed over: at once was asked for"}
        candidate, weight, by = self._candidate(run), int(self.step.config["weight"]), run.author
        now = endpoints.latest(run.documents, self._endpoint)
        mine = [g for g in endpoints.generations(run.documents, self._endpoint) if g.by == by]
        if now is not None and mine and now.by != by:
            self._fail(run, "TW564", f"the endpoint has moved on: generation {now.number}, by {now.by}: {now.reason}")
        had = any(self._there(one, candidate.digest, weight) for one in mine)
        if now is not None and had and not self._there(now, candidate.digest, weight):
            # An attempt was killed after it had gone back.
            self._fail(run, "TW563", f"version {candidate.version} was rolled back: {now.reason}")
        if now is None or not self._there(now, candidate.digest, weight):
            reason = (
                f"{weight} % of requests to version {candidate.version}"
                if now
                else "the first version goes straight in"
            )
            now = moves.promote(
                run.documents,
                self._endpoint,
                candidate.digest,
                weight=weight,
                by=by,
                reason=reason,
                expected=now.number if now else 0,
                version=candidate.version,
                capture=self._deploy.capture,
            )
        self.log.info("generation %d: %s", now.number, now.reason)
        self.wait(run)
        return {}

    @staticmethod
    def _there(now: endpoints.EndpointGeneration, digest: str, weight: int) -> bool:
        if now.stable == digest:
            return now.canary is None  # else another one's, which was left behind
        return now.canary == digest and now.weight >= weight

    def wait(self, run: Run, *, replayed: bool = False) -> None:
        """Until the stage can be judged."""
        now = endpoints.latest(run.documents, self._endpoint)
        assert now is not None, "this task has just seen it"
        deploy = self._deploy
        trigger = StageTrigger(
            lake=self.plan.lake,
            connection=self.plan.lake_connection,
            endpoint=self._endpoint,
            number=now.number,
            started=now.created.isoformat(),
            stage=deploy.stage.model_dump(mode="json"),
            abort=deploy.abort.model_dump(mode="json"),
            replayed=replayed,
            sleeps=bool(self.step.config.get("sleeps")),
        )
        self.defer(trigger=trigger, method_name="judged")

    def _go_back(self, run: Run, reasons: str) -> None:
        now = endpoints.latest(run.documents, self._endpoint)
        if now is None or now.by != run.author:
            return
        if now.canary is not None:
            moves.abort_canary(run.documents, self._endpoint, expected=now.number, by=run.author, reason=reasons)
        elif now.replaced is not None:
            moves.rollback(run.documents, self._endpoint, expected=now.number, by=run.author, reason=reasons)

    def _fail(self, run: Run, code: str, message: str) -> NoReturn:
        """Leave the reason where messages are made from, and fail for good."""
        run.leave_reason(self.step.id, Problem(code=code, message=message))
        raise AirflowFailException(f"{code}: {message}")

    def _candidate(self, run: Run) -> ModelRef:
        result = run.result("select")
        found = result.outputs.get("version") if result else None
        if not isinstance(found, ModelRef):
            raise AirflowFailException("TW211: this run has selected no version; clear the task 'select'")
        return found

    @property
    def _endpoint(self) -> str:
        return str(self.step.config["endpoint"])

    @property
    def _deploy(self) -> Deploy:
        return Deploy.model_validate(self.step.config["deploy"])


class StageOperator(StageTask, StepOperator):
    """A stage whose replay is a process of this machine."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Begin the stage."""
        return self.begin(context)

    def replay(self, run: Run, context: Context) -> None:
        """Here and now."""
        del context
        self.launch(run, run.request(replay_of(self.step)))
