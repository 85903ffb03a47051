"""`trial`: one set of parameters, learnt on the training rows and scored on the validation rows."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any

from tradewind_runtime import learning
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepOutcome, Verdict
from tradewind_runtime.contract.sweep import Rung
from tradewind_runtime.contract.train import TrainConfig
from tradewind_runtime.pruning import Pruned, pruning
from tradewind_runtime.training import TrainContext


def run(context: StepContext) -> StepOutcome:
    """Fit, score, keep nothing but the score. One that is pruned has its last value as score."""
    config = context.request.configured(TrainConfig)
    assert config.tune is not None, "a trial belongs to a sweep"
    began = time.monotonic()
    given = learning.prepare(context, config, config.trial_params or {}, rows=config.tune.search.train_rows)
    given.pruning = watch = pruning(context.request, config, context.lake.documents)
    model: Any = None
    if watch is None:
        model = learning.fit(context, config, given)
    else:
        watch.measure = lambda model: learning.measured(model, given)[0]
        with suppress(Pruned):
            model = learning.fit(context, config, given)
    facts = {
        "params": config.trial_params,
        "seconds": round(time.monotonic() - began, 3),
        "rows_train": len(given.train),
        "rows_valid": len(given.valid),
    }
    if watch is not None and watch.stopped is not None:
        return _pruned(watch.stopped, config.tune.search.metric, facts)
    return StepOutcome(metrics=_scored(model, given, config), facts=facts)


def _pruned(rung: Rung, metric: str, facts: dict[str, Any]) -> StepOutcome:
    return StepOutcome(
        metrics={metric: rung.value, "score": rung.value, "step": rung.step},
        verdict=Verdict(passed=False, reasons=(rung.stop or "",)),
        facts=facts,
    )


def _scored(model: Any, given: TrainContext, config: TrainConfig) -> dict[str, float]:
    assert config.tune is not None
    metric = config.tune.search.metric
    metrics, wrong = learning.measured(model, given)
    score = metrics.get(metric, math.nan)
    if not math.isfinite(score):
        raise StepError(
            "TW551",
            f"{metric} could not be measured on the validation rows",
            retryable=False,
            got="; ".join(wrong) or None,
            expected=", ".join(metrics) or None,
            path=f"tune.{config.tune.tuner}.metric",
        )
    return metrics | {"score": score}
