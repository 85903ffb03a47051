"""XGBoost: a Booster as UBJ, cut at its best iteration; and a training of it that can be killed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind_runtime.frameworks import Matrix, Predictor, comes_from

if TYPE_CHECKING:
    import xgboost

    from tradewind_runtime.training import TrainContext

NAME = "xgboost"
FILE = "model.ubj"
#: Objectives that answer with a class or a margin, and the one with the same trees that gives probabilities.
_PROBABILITIES = {"multi:softmax": "multi:softprob", "binary:logitraw": "binary:logistic"}
#: Metrics of which more is better begin with one of these, as XGBoost itself has it.
_MORE = ("auc", "pre", "map", "ndcg")


def saves(model: object) -> bool:
    """Boosters and XGBoost's scikit-learn classes."""
    return comes_from(model, "xgboost")


def features(model: Any) -> tuple[str, ...] | None:
    """The names in the matrix that it was fitted on."""
    names = _booster(model).feature_names
    return tuple(names) if names else None


def wrap(model: Any, threads: int = 1) -> Predictor:
    """Its trees up to the best iteration, on the CPU, where the rows are and where a loaded one answers."""
    booster = _best(_booster(model)).copy()
    booster.set_param({"nthread": threads, "device": "cpu"})
    return _predictor(booster)


def save(model: Any, folder: Path, rows: Matrix) -> None:  # noqa: ARG001 - trees are not traced
    """One file. After early stopping, it holds the trees up to the best iteration and no more."""
    _best(_booster(model)).save_model(folder / FILE)


def load(files: Mapping[str, bytes], threads: int = 1) -> Predictor:
    """From the very bytes that were hashed."""
    import xgboost

    booster = xgboost.Booster({"nthread": threads})
    booster.load_model(bytearray(files[FILE]))
    return _predictor(booster)


def dumps(model: Any) -> bytes:
    """A state to go on from: every tree so far."""
    return bytes(_booster(model).save_raw("ubj"))


def loads(state: bytes) -> xgboost.Booster:
    """The booster of such a state, for `xgb_model`."""
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(state))
    return booster


def boost(context: TrainContext, params: Mapping[str, Any], rounds: int, patience: int | None) -> xgboost.Booster:
    """As `TrainContext.boost` says.

    XGBoost's own continuation forgets which round was the best; it is kept in the booster's attributes here, where
    XGBoost itself looks for it. Where rows or columns are sampled, chance cannot go on where it was: it is drawn anew.
    """
    import xgboost

    given = {"seed": context.seed, "nthread": context.threads, "device": context.device} | dict(params)
    learn, valid = context.train.dmatrix(), context.valid.dmatrix()
    done, state = context.checkpoints.latest() or (0, None)
    given["seed"] = int(given["seed"]) + done
    booster = xgboost.Booster(given, [learn, valid], model_file=bytearray(state) if state else None)
    for number in range(done, rounds):
        if patience is not None and number - 1 - int(booster.attr("best_iteration") or number - 1) >= patience:
            break
        booster.update(learn, iteration=number)
        scores = [part.rpartition(":") for part in booster.eval_set([(valid, "valid")], number).split("\t")[1:]]
        if patience is not None:
            _remember(booster, number, scores[-1][0].removeprefix("valid-"), float(scores[-1][2]))
        context.report_model(number, booster, {name.replace("-", "_", 1): float(value) for name, _, value in scores})
        context.checkpoints.offer(number + 1, lambda: dumps(booster))
    return booster


def callback(context: TrainContext) -> xgboost.callback.TrainingCallback:
    """Reports each round of `xgboost.train` or of a `fit`."""
    import xgboost

    class Report(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
            said = {
                f"{part}_{name}": values[-1] if isinstance(values[-1], float) else values[-1][0]
                for part, metrics in evals_log.items()
                for name, values in metrics.items()
            }
            if isinstance(model, xgboost.Booster):
                context.report_model(epoch, model, said)
            else:
                context.report(epoch, **said)  # of a cross-validation: no model to measure
            return False

    return Report()


def _remember(booster: xgboost.Booster, number: int, metric: str, score: float) -> None:
    before, more = booster.attr("best_score"), metric.startswith(_MORE) and metric != "mape"
    if before is None or (score > float(before) if more else score < float(before)):
        booster.set_attr(best_score=str(score), best_iteration=str(number))


def _predictor(booster: xgboost.Booster) -> Predictor:
    learner = json.loads(booster.save_config())["learner"]
    if objective := _PROBABILITIES.get(learner["objective"]["name"]):
        booster.set_param({"objective": objective})
    return _Linear(booster) if learner["gradient_booster"]["name"] == "gblinear" else _Trees(booster)


class _Trees:
    def __init__(self, booster: xgboost.Booster) -> None:
        self._booster = booster

    def predict(self, x: Matrix) -> Matrix:
        """Without the copy that a DMatrix would be."""
        return np.asarray(self._booster.inplace_predict(x, validate_features=False), dtype=np.float64)


class _Linear(_Trees):
    def predict(self, x: Matrix) -> Matrix:
        import xgboost

        rows = xgboost.DMatrix(x, feature_names=self._booster.feature_names)
        return np.asarray(self._booster.predict(rows), dtype=np.float64)


def _booster(model: Any) -> xgboost.Booster:
    booster: xgboost.Booster = model.get_booster() if hasattr(model, "get_booster") else model
    return booster


def _booster_kind(booster: xgboost.Booster) -> str:
    return str(json.loads(booster.save_config())["learner"]["gradient_booster"]["name"])


def _best(booster: xgboost.Booster) -> xgboost.Booster:
    best = booster.attr("best_iteration")
    if best is None or _booster_kind(booster) == "gblinear":
        return booster
    return booster[: int(best) + 1]
