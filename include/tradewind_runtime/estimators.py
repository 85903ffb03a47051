"""Built-in estimators: a closed list, each fitted from a context with parameters from the YAML alone.

Those that cannot learn from missing values get a median imputer and a scaler in front.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.training import TrainContext, xgboost_names

#: Name in the YAML → module, class, and whether it needs scaled values without gaps.
_SKLEARN: dict[str, tuple[str, bool]] = {
    "LogisticRegression": ("sklearn.linear_model", True),
    "Ridge": ("sklearn.linear_model", True),
    "RandomForestClassifier": ("sklearn.ensemble", False),
    "RandomForestRegressor": ("sklearn.ensemble", False),
    "HistGradientBoostingClassifier": ("sklearn.ensemble", False),
    "HistGradientBoostingRegressor": ("sklearn.ensemble", False),
}
#: XGBoost's own names, which its scikit-learn classes take as well.
_NATIVE = {"eta", "lambda", "alpha", "gamma", "colsample_bynode", "max_bin", "min_split_loss", "nthread", "seed"}


def fit(name: str, context: TrainContext) -> Any:
    """A fitted estimator.

    Raises:
        StepError: TW555 where it does not suit the task or does not know a parameter.
    """
    classifies = not name.endswith(("Regressor", "Ridge"))
    if classifies != (context.task != "regression"):
        kind = "classes" if classifies else "values"
        raise StepError(
            "TW555",
            f"{name} predicts {kind}, and the task is {context.task}",
            retryable=False,
            path="train.estimator",
            fix="set train.task, or choose another estimator",
        )
    library, _, short = name.partition(".")
    return _xgboost(short, context) if library == "xgboost" else _sklearn(short, context)


def _xgboost(short: str, context: TrainContext) -> Any:
    import xgboost

    kind = getattr(xgboost, short)
    _known(short, context.params, set(kind().get_params()) | _NATIVE)
    model = kind(
        **{
            "n_jobs": context.threads,
            "random_state": context.seed,
            "device": context.device,
            "callbacks": [context.xgboost_callback()],
        }
        | context.params
    )
    x, y = context.train.numpy()
    model.fit(x, y, eval_set=[context.valid.numpy()], verbose=False)
    model.get_booster().feature_names = xgboost_names(context.features)
    return model


def _sklearn(short: str, context: TrainContext) -> Any:
    module, gapless = _SKLEARN[short]
    kind = getattr(importlib.import_module(module), short)
    allowed = kind().get_params()
    _known(short, context.params, set(allowed))
    own: dict[str, Any] = {"random_state": context.seed}
    if short.startswith("RandomForest"):
        own["n_jobs"] = context.threads
    model = kind(**own | context.params)
    if gapless:
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), model)
    return model.fit(*context.train.numpy())


def _known(short: str, params: dict[str, Any], allowed: set[str]) -> None:
    for name in params:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            raise StepError(
                "TW555",
                f"{short} has no parameter {name!r}",
                retryable=False,
                path=f"train.params.{name}",
                suggestion=near[0] if near else None,
                expected=", ".join(sorted(allowed)),
            )
