"""Will a flight arrive more than 15 minutes late? Trees, grown until the validation days stop getting better."""

from __future__ import annotations

import xgboost

from tradewind_runtime.training import TrainContext


def train(ctx: TrainContext) -> xgboost.Booster:
    """Late arrivals, from what is known before departure; killed, it goes on where it was.

    `max_rounds` and `patience` are this function's own parameters; the others are XGBoost's.
    """
    params = {"objective": "binary:logistic", "eval_metric": "auc", "tree_method": "hist", **ctx.params}
    rounds, patience = int(params.pop("max_rounds", 200)), int(params.pop("patience", 15))
    return ctx.boost(params, rounds, patience)
