"""`trial`: one set of parameters, learnt on the training rows and scored on the validation rows."""

from __future__ import annotations

import math
import time

from tradewind_runtime import learning
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.contract.train import TrainConfig
from tradewind_runtime.frameworks import framework_of
from tradewind_runtime.training import Rows


def run(context: StepContext) -> StepOutcome:
    """Fit, score, keep nothing but the score."""
    config = context.config(TrainConfig)
    assert config.tune is not None, "a trial belongs to a sweep"
    tune = config.tune.hyperopt
    began = time.monotonic()
    given = learning.prepare(context, config, config.trial_params or {}, rows=tune.train_rows)
    model = learning.fit(context, config, given)
    rows = Rows(given.valid.table, learning.columns(model, given), given.label, given.classes)
    metrics, wrong = learning.scores(framework_of(model).wrap(model, given.threads), rows, config.train.task)
    score = metrics.get(tune.metric, math.nan)
    if not math.isfinite(score):
        raise StepError(
            "TW551",
            f"{tune.metric} could not be measured on the validation rows",
            retryable=False,
            got="; ".join(wrong) or None,
            expected=", ".join(metrics) or None,
            path="tune.hyperopt.metric",
        )
    return StepOutcome(
        metrics=metrics | {"score": score},
        facts={
            "params": config.trial_params,
            "seconds": round(time.monotonic() - began, 3),
            "rows_train": len(given.train),
            "rows_valid": len(given.valid),
        },
    )
