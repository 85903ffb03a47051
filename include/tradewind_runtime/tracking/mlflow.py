"""MLflow as the picture of a sweep: a run with one nested run a trial, which its own pages compare and plot.

Runs are found again by the sweep's fingerprint and the trial's number, and metrics have the trial's own times, so
that a sweep that is gone on with writes nothing twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import sklearn.ensemble  # noqa: F401 - importance wants it at the end: it is loaded while trials run
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from tradewind_runtime.contract.sweep import Trial
from tradewind_runtime.registries.mlflow import answering, client_of, experiment_of, pages
from tradewind_runtime.sweeps import best_of
from tradewind_runtime.tracking import Summary
from tradewind_runtime.trials import Trials
from tradewind_runtime.tuners.optuna import importance

if TYPE_CHECKING:
    from mlflow.entities import Run

SWEEP, TRIAL, STATE = "tradewind.sweep", "tradewind.trial", "tradewind.state"
PARENT = "mlflow.parentRunId"
BEST = "best_score"
#: MLflow has no word for pruned; this is what its own Optuna storage says.
_STATUS = {"done": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


def board(uri: str, trials: Trials) -> MlflowBoard:
    """A sweep's runs: those that an earlier attempt made, or new ones.

    Raises:
        StepError: TW571 where MLflow does not answer.
    """
    with answering(uri):
        client = client_of(uri)
        experiment = experiment_of(client, uri, trials.request.pipeline)
        sweep = trials.request.fingerprint
        found = list(pages(lambda **page: client.search_runs([experiment], f"tags.`{SWEEP}` = '{sweep}'", **page)))
        parent = next((run for run in found if TRIAL not in run.data.tags), None) or _create(client, experiment, trials)
        _describe(client, parent, trials)
        nested = {int(run.data.tags[TRIAL]): run for run in found if TRIAL in run.data.tags}
        return MlflowBoard(uri, trials, client, parent, nested)


def _create(client: MlflowClient, experiment: str, trials: Trials) -> Run:
    request = trials.request
    tags = {SWEEP: request.fingerprint, "tradewind.pipeline": request.pipeline, "tradewind.run": request.run_id}
    return client.create_run(experiment, tags=tags, run_name=f"sweep {request.fingerprint[:12]}")


def _describe(client: MlflowClient, parent: Run, trials: Trials) -> None:
    search = trials.search
    params = {"tuner": trials.tune.tuner, "metric": search.metric, "direction": search.direction, "seed": search.seed}
    if not parent.data.params:
        client.log_batch(parent.info.run_id, params=[Param(name, str(value)) for name, value in params.items()])


class MlflowBoard:
    """One sweep's runs.

    Args:
        uri: of MLflow.
        trials: of the sweep.
        client: of that address.
        parent: the sweep's run.
        nested: its trials', by number.
    """

    def __init__(self, uri: str, trials: Trials, client: MlflowClient, parent: Run, nested: dict[int, Run]) -> None:
        self._uri, self._trials, self._client, self._parent, self._nested = uri, trials, client, parent, nested
        self._over: dict[int, Trial] = {}
        self._next = 0
        self._best: Trial | None = None
        self._drawn = {one.step for one in client.get_metric_history(self._id, BEST)}

    @property
    def _id(self) -> str:
        return str(self._parent.info.run_id)

    def show(self, trial: Trial) -> None:
        """The trial's run, and the best so far."""
        with answering(self._uri):
            self._over[trial.index] = trial
            known = self._nested.get(trial.index)
            if known is None or known.data.tags.get(STATE) != trial.state:
                self._write(str((known or self._create(trial)).info.run_id), trial)
            self._draw()

    def close(self, summary: Summary) -> None:
        """How the sweep ended, and each parameter's importance."""
        with answering(self._uri):
            at = max((_ms(trial.finished) or 0 for trial in self._over.values()), default=0)
            matters = importance(self._trials.search, self._over.values())
            values = dict(summary.values) | {f"importance.{name}": value for name, value in matters.items()}
            self._client.log_batch(
                self._id,
                metrics=[Metric(name, value, at, len(self._over)) for name, value in values.items()],
                tags=[RunTag("tradewind.ended_by", summary.ended_by)] if summary.ended_by else [],
            )
            self._client.set_terminated(self._id, "FAILED" if summary.failed else "FINISHED", at or None)

    def _create(self, trial: Trial) -> Run:
        tags = {PARENT: self._id, SWEEP: self._trials.request.fingerprint, TRIAL: str(trial.index)}
        return self._client.create_run(
            self._parent.info.experiment_id, _ms(trial.started), tags, run_name=f"trial {trial.index + 1}"
        )

    def _write(self, id: str, trial: Trial) -> None:
        """The state comes last: a run that has it has the rest."""
        at = _ms(trial.finished) or self._parent.info.start_time
        score = {} if trial.score is None else {"score": trial.score}
        self._client.log_batch(
            id,
            metrics=[Metric(name, value, at, trial.step or 0) for name, value in (trial.metrics | score).items()],
            params=[Param(name, str(value)[:6000]) for name, value in trial.params.items()],
            tags=[RunTag("tradewind.reason", trial.reason[:5000])] if trial.reason else [],
        )
        self._client.set_terminated(id, _STATUS[trial.state], at)
        self._client.set_tag(id, STATE, trial.state)

    def _draw(self) -> None:
        """By the trials' numbers: the curve is the same, whichever was quicker and however often it is drawn."""
        new: list[Metric] = []
        while (trial := self._over.get(self._next)) is not None:
            self._best = best_of([one for one in (self._best, trial) if one is not None], self._trials.search)
            if self._best is not None and self._best.score is not None and self._next not in self._drawn:
                at = _ms(trial.finished) or self._parent.info.start_time
                new.append(Metric(BEST, self._best.score, at, self._next))
            self._next += 1
        if new:
            self._client.log_batch(self._id, metrics=new)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp() * 1000)
