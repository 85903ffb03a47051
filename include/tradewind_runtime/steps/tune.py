"""`tune`: asks a tuner, has trials run by warm workers, tells the tuner. Killed and started again, it goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from tradewind_runtime import pruning
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import ValueRef
from tradewind_runtime.contract.request import StepOutcome, StepRequest
from tradewind_runtime.contract.sweep import Trial
from tradewind_runtime.contract.train import TrainConfig
from tradewind_runtime.launchers.companion_pool import CompanionPool
from tradewind_runtime.launchers.pool import Done, Pool
from tradewind_runtime.sweeps import Sweep
from tradewind_runtime.tracking import Summary, Tracker
from tradewind_runtime.trials import Trials
from tradewind_runtime.tuners import tuner

#: What every trial imports; a worker has it before its first one.
PRELOAD = (
    "tradewind_runtime.execute",
    "tradewind_runtime.steps.trial",
    "tradewind_runtime.frameworks.xgboost",
    "sklearn.metrics",
    "xgboost",
)


def run(context: StepContext) -> StepOutcome:
    """The best parameters.

    Raises:
        StepError: TW559 where more trials fail than may.
    """
    trials = Trials(context.request, context.lake.documents)
    trials.begin()
    sweep = Sweep(trials, tuner(trials.tune), context.setting("price_per_hour"))
    with Tracker(_watched(context), trials) as tracker:
        search = _Searching(sweep, tracker, context)
        try:
            search.through()
            if sweep.best is None:
                raise _too_many(sweep)
        except StepError:
            tracker.tell(Summary(failed=True, ended_by="failures"))
            raise
        _warn(sweep, context.log)
        outcome = _outcome(sweep)
        tracker.tell(Summary(values=outcome.metrics, ended_by=sweep.ended_by))
    return outcome


@dataclass
class _Searching:
    """One attempt at a sweep."""

    sweep: Sweep
    tracker: Tracker
    context: StepContext

    def through(self) -> None:
        """Until there is nothing more to be tried."""
        search = self.sweep.search
        size = min(search.parallel, search.trials)
        starts = self._next(size, ())  # what an earlier attempt has done needs no worker
        if not starts:
            return
        with self._pool(size) as pool:
            for index, request in starts:
                pool.submit(index, request)
            while pool.pending:
                over = [_take(self.sweep, done) for done in pool.next()]
                if len(self.sweep.failures) > search.max_failures:
                    self._say(over)
                    raise _too_many(self.sweep)
                for index, request in self._next(pool.free, pool.under_way):
                    pool.submit(index, request)
                self._say(over)

    def _pool(self, size: int) -> Pool:
        workers = self.sweep.trials.tune.workers
        if workers is None or workers == "processes":
            return Pool(size, PRELOAD, int(self.context.setting("threads", 1)))
        return CompanionPool.of(self.context, workers, size, PRELOAD)

    def _next(self, free: int, under_way: Sequence[datetime]) -> list[tuple[int, StepRequest]]:
        """What can be started. Where there is a budget, no more than there are workers: what waits is not started."""
        before = set(self.sweep.over)
        most = free if self.sweep.search.budget else None
        found = list(islice(self.sweep.ready(under_way), most))
        self._say([self.sweep.over[index] for index in sorted(set(self.sweep.over) - before)], "already done")
        return found

    def _say(self, trials: list[Trial], note: str = "") -> None:
        for trial in trials:
            self.tracker.tell(trial)
            self.context.log.info("%s", _line(self.sweep, trial, note))


def _take(sweep: Sweep, done: Done) -> Trial:
    if done.result is not None:
        return sweep.finished(done.key, done.result)
    assert done.error is not None, "a request comes back with a result or a reason"
    return sweep.failed(done.key, str(done.error), retryable=done.error.retryable, started=done.began)


def _outcome(sweep: Sweep) -> StepOutcome:
    best = sweep.best
    assert best is not None
    assert best.score is not None
    trials = [sweep.over[index] for index in sorted(sweep.over)]
    used = sweep.usage()
    spent = {"seconds": round(used.seconds, 3)} | ({} if used.cost is None else {"cost": round(used.cost, 6)})
    return StepOutcome(
        outputs={"best": ValueRef(value={"params": best.params, "score": best.score, "trials": len(trials)})},
        metrics={
            "best_score": best.score,
            "trials": len(trials),
            "failed": len(sweep.failures),
            "pruned": sum(trial.state == "pruned" for trial in trials),
        }
        | spent,
        facts={
            "best": best.index,
            "metric": sweep.search.metric,
            "params": best.params,
            "ended_by": sweep.ended_by,
            "trials": [
                trial.model_dump(mode="json", include={"index", "params", "state", "score", "step", "reason"})
                for trial in trials
            ],
        },
    )


def _too_many(sweep: Sweep) -> StepError:
    failures = sorted(sweep.failures, key=lambda trial: trial.index)
    sweep.forget_failures()
    return StepError(
        "TW559",
        f"{len(failures)} trials of the sweep failed",
        retryable=any(trial.retryable for trial in failures),
        expected=f"at most {sweep.search.max_failures}",
        got="\n".join(f"trial {trial.index + 1}: {trial.reason}" for trial in failures[:5]),
        fix=f"see the first reason; tune.{sweep.trials.tune.tuner}.max_failures says how many may",
    )


def _warn(sweep: Sweep, log: logging.Logger) -> None:
    """A rule that nobody could be held to is a mistake that no error tells."""
    if sweep.search.prune is None:
        return
    request = sweep.trials.request_of({}, 0)
    rungs = pruning.folder(request, request.configured(TrainConfig))
    if not any(sweep.trials.documents.names(rungs)):
        log.warning("no trial reported %s, so none could be pruned: ctx.report(step, …)", sweep.search.metric)


def _line(sweep: Sweep, trial: Trial, note: str) -> str:
    params = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in trial.params.items())
    score = "failed" if trial.score is None else f"{sweep.search.metric} {trial.score:.5f}"
    pruned = f", pruned at step {trial.step}" if trial.state == "pruned" else ""
    best = sweep.best
    top = "none yet" if best is None or best.score is None else f"{best.score:.5f} by trial {best.index + 1}"
    note = f", {note}" if note else ""
    return f"trial {trial.index + 1} of {sweep.search.trials}: {score}{pruned} ({params}){note}; best {top}"


def _watched(context: StepContext) -> str | None:
    """Where the sweep is shown: the profile's registry, if the step was handed one."""
    try:
        return context.registry_uri()
    except StepError:
        return None
