"""`tune`: asks a tuner, has trials run by warm workers, tells the tuner. Killed and started again, it goes on."""

from __future__ import annotations

import logging

from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import ValueRef
from tradewind_runtime.contract.request import StepOutcome, StepRequest
from tradewind_runtime.contract.train import TrainConfig
from tradewind_runtime.launchers.pool import Done, Pool
from tradewind_runtime.sweeps import Sweep, Trial
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
    config = context.config(TrainConfig)
    assert config.tune is not None, "the plan has this step where there is `tune:`"
    sweep = Sweep(context.request, config, context.lake.documents, tuner(config.tune))
    starts = list(sweep.ready())  # what an earlier attempt has done needs no worker
    for trial in sweep.over.values():
        _say(context.log, sweep, trial, "already done")
    if starts:
        _search(context, sweep, starts)
    best = sweep.best
    if best is None or best.score is None:
        raise _too_many(sweep)
    trials = [sweep.over[index] for index in sorted(sweep.over)]
    return StepOutcome(
        outputs={"best": ValueRef(value={"params": best.params, "score": best.score, "trials": len(trials)})},
        metrics={"best_score": best.score, "trials": len(trials), "failed": len(sweep.failures)},
        facts={
            "best": best.index,
            "metric": sweep.spec.metric,
            "params": best.params,
            "trials": [{"index": t.index, "params": t.params, "score": t.score, "reason": t.reason} for t in trials],
        },
    )


def _search(context: StepContext, sweep: Sweep, starts: list[tuple[int, StepRequest]]) -> None:
    size = min(sweep.spec.parallel, sweep.spec.trials)
    with Pool(size, PRELOAD, int(context.setting("threads", 1))) as pool:
        for index, request in starts:
            pool.submit(index, request)
        while pool.pending:
            for done in pool.next():
                _say(context.log, sweep, _take(sweep, done))
            if len(sweep.failures) > sweep.spec.max_failures:
                raise _too_many(sweep)
            before = set(sweep.over)
            for index, request in sweep.ready():
                pool.submit(index, request)
            for index in sorted(set(sweep.over) - before):
                _say(context.log, sweep, sweep.over[index], "already done")


def _take(sweep: Sweep, done: Done) -> Trial:
    if done.result is not None:
        return sweep.finished(done.key, done.result)
    assert done.error is not None, "a request comes back with a result or a reason"
    return sweep.failed(done.key, str(done.error), retryable=done.error.retryable)


def _too_many(sweep: Sweep) -> StepError:
    failures = sorted(sweep.failures, key=lambda trial: trial.index)
    sweep.forget_failures()
    return StepError(
        "TW559",
        f"{len(failures)} trials of the sweep failed",
        retryable=any(trial.retryable for trial in failures),
        expected=f"at most {sweep.spec.max_failures}",
        got="\n".join(f"trial {trial.index + 1}: {trial.reason}" for trial in failures[:5]),
        fix="see the first reason; tune.hyperopt.max_failures says how many may",
    )


def _say(log: logging.Logger, sweep: Sweep, trial: Trial, note: str = "") -> None:
    params = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in trial.params.items())
    score = "failed" if trial.score is None else f"{sweep.spec.metric} {trial.score:.5f}"
    best = sweep.best
    log.info(
        "trial %d of %d: %s (%s)%s; best %s",
        trial.index + 1,
        sweep.spec.trials,
        score,
        params,
        f", {note}" if note else "",
        "none yet" if best is None else f"{best.score:.5f} by trial {best.index + 1}",
    )
