"""Metrics agree with scikit-learn; what cannot be measured is left out."""

import numpy as np
import pytest
from sklearn import metrics as peer

from tradewind_runtime import metrics

RANDOM = np.random.default_rng(0)


def test_binary():
    y, p = RANDOM.integers(0, 2, 500).astype(float), RANDOM.random(500)
    found = metrics.measure("binary", y, p)
    assert found["roc_auc"] == pytest.approx(peer.roc_auc_score(y, p))
    assert found["log_loss"] == pytest.approx(peer.log_loss(y, p))
    assert found["brier"] == pytest.approx(peer.brier_score_loss(y, p))
    assert found["accuracy"] == pytest.approx(peer.accuracy_score(y, p >= 0.5))
    assert set(found) == {"roc_auc", "average_precision", "accuracy", "f1", "log_loss", "brier"}


def test_multiclass_and_regression():
    y = RANDOM.integers(0, 3, 300).astype(float)
    p = RANDOM.dirichlet([1, 1, 1], 300)
    found = metrics.measure("multiclass", y, p)
    assert found["log_loss"] == pytest.approx(peer.log_loss(y, p))
    assert found["accuracy"] == pytest.approx(peer.accuracy_score(y, p.argmax(axis=1)))
    value = RANDOM.normal(size=300)
    found = metrics.measure("regression", y, value)
    assert found["r2"] == pytest.approx(peer.r2_score(y, value))
    assert found["rmse"] == pytest.approx(peer.root_mean_squared_error(y, value))


def test_what_cannot_be_measured_is_left_out():
    one_class = metrics.measure("binary", np.ones(10), np.full(10, 0.5))
    assert "roc_auc" not in one_class
    assert "log_loss" in one_class
    assert "r2" not in metrics.measure("regression", np.ones(10), np.zeros(10))
    assert metrics.measure("binary", np.ones(10), np.full(10, np.nan)) == {}
    assert metrics.measure("binary", np.array([]), np.array([])) == {}
    assert set(metrics.measure("binary", np.array([0.0, 1.0]), np.array([0.1, 0.9]), ["f1", "rmse"])) == {"f1"}


@pytest.mark.parametrize(
    ("task", "prediction", "reason"),
    [
        ("binary", np.array([0.1, np.nan, np.inf]), "2 of 3 predictions are NaN or infinite"),
        ("binary", np.array([0.1, 1.3, 0.2]), "not probabilities"),
        ("binary", np.zeros((3, 2)), "shape"),
        ("multiclass", np.zeros(3), "shape"),
        ("regression", np.zeros(2), "shape"),
    ],
)
def test_unfit_predictions_are_told(task, prediction, reason):
    assert reason in metrics.problems(task, prediction, 3, 3)[0]
    assert metrics.problems("regression", np.array([1.0, 5.0, -3.0]), 3, 0) == ()
