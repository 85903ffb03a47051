"""XGBoost: a Booster as UBJ, cut at its best iteration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind_runtime.frameworks import Matrix, Predictor, comes_from

if TYPE_CHECKING:
    import xgboost

NAME = "xgboost"
FILE = "model.ubj"
#: Objectives that answer with a class or a margin, and the one with the same trees that gives probabilities.
_PROBABILITIES = {"multi:softmax": "multi:softprob", "binary:logitraw": "binary:logistic"}


def saves(model: object) -> bool:
    """Boosters and XGBoost's scikit-learn classes."""
    return comes_from(model, "xgboost")


def features(model: Any) -> tuple[str, ...] | None:
    """The names in the matrix that it was fitted on."""
    names = _booster(model).feature_names
    return tuple(names) if names else None


def wrap(model: Any, threads: int = 1) -> Predictor:
    """Its trees up to the best iteration."""
    booster = _best(_booster(model)).copy()
    booster.set_param({"nthread": threads})
    return _predictor(booster)


def save(model: Any, folder: Path) -> None:
    """One file. After early stopping, it holds the trees up to the best iteration and no more."""
    _best(_booster(model)).save_model(folder / FILE)


def load(files: Mapping[str, bytes], threads: int = 1) -> Predictor:
    """From the very bytes that were hashed."""
    import xgboost

    booster = xgboost.Booster({"nthread": threads})
    booster.load_model(bytearray(files[FILE]))
    return _predictor(booster)


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
