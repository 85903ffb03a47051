"""How good predictions are. What cannot be measured is left out, and the gate says so."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tradewind_runtime.contract.promote import METRICS

Numbers = npt.NDArray[np.float64]


def problems(task: str, prediction: Numbers, rows: int, classes: int) -> tuple[str, ...]:
    """What makes predictions unfit to be measured or served."""
    wanted = (rows, classes) if task == "multiclass" and classes > 2 else (rows,)
    if prediction.shape != wanted:
        return (f"predictions have the shape {list(prediction.shape)}, not {list(wanted)}",)
    found = []
    if bad := int(np.sum(~np.isfinite(prediction).reshape(rows, -1).all(axis=1))):
        found.append(f"{bad} of {rows} predictions are NaN or infinite")
    elif task != "regression" and rows and (prediction.min() < -1e-6 or prediction.max() > 1 + 1e-6):
        found.append("predictions are not probabilities: they lie outside of 0 to 1")
    return tuple(found)


def measure(task: str, y: Numbers, prediction: Numbers, names: Iterable[str] | None = None) -> dict[str, float]:
    """Metrics by name, those that are finite.

    Args:
        task: binary, multiclass or regression.
        y: 0 to k-1, or values.
        prediction: probabilities of class 1, of each class, or values.
        names: all of the task's by default.
    """
    if len(y) == 0 or not np.isfinite(prediction).all():
        return {}
    wanted = METRICS[task] if names is None else [name for name in names if name in METRICS[task]]
    if task == "regression":
        found = _regression(y, prediction)
    elif task == "binary":
        found = _binary(y, prediction, wanted)
    else:
        found = _multiclass(y, prediction)
    return {name: value for name in wanted if math.isfinite(value := found.get(name, math.nan))}


def _binary(y: Numbers, p: Numbers, wanted: Iterable[str]) -> dict[str, float]:
    from sklearn import metrics

    found = {
        "accuracy": float(np.mean((p >= 0.5) == y)),
        "f1": float(metrics.f1_score(y, p >= 0.5, zero_division=0.0)),
        "log_loss": _log_loss(y, np.column_stack([1 - p, p])),
        "brier": float(np.mean((p - y) ** 2)),
    }
    if 0 < y.sum() < len(y):  # an order needs both classes
        if "roc_auc" in wanted:
            found["roc_auc"] = float(metrics.roc_auc_score(y, p))
        if "average_precision" in wanted:
            found["average_precision"] = float(metrics.average_precision_score(y, p))
    return found


def _multiclass(y: Numbers, p: Numbers) -> dict[str, float]:
    from sklearn import metrics

    if p.ndim == 1:  # two classes
        p = np.column_stack([1 - p, p])
    best = p.argmax(axis=1)
    return {
        "accuracy": float(np.mean(best == y)),
        "f1": float(metrics.f1_score(y, best, average="macro", zero_division=0.0)),
        "log_loss": _log_loss(y, p),
    }


def _regression(y: Numbers, p: Numbers) -> dict[str, float]:
    error = p - y
    spread = float(np.sum((y - y.mean()) ** 2))
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "r2": 1 - float(np.sum(error**2)) / spread if spread > 0 else math.nan,
    }


def _log_loss(y: Numbers, p: Numbers) -> float:
    chosen = np.clip(p[np.arange(len(y)), y.astype(int)], 1e-15, 1.0)
    return float(-np.mean(np.log(chosen)))
