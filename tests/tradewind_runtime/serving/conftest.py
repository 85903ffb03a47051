"""A lake with small real models in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xgboost

from tradewind_runtime import artefacts, frameworks
from tradewind_runtime.documents import Documents

FEATURES = ("a", "b", "c")


@dataclass
class Models:
    """Trains and saves models, and knows their own answers."""

    folder: Path  # of the lake
    documents: Documents

    def train(self, seed: int, features: tuple[str, ...] = FEATURES, *, flip: bool = False) -> tuple[str, Callable]:
        """A digest, and the model's own probabilities: models of the same data, each a little different."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(2000, len(features)))
        y = (x[:, 0] + x[:, 1] + rng.normal(size=2000) > (2 if flip else 0)).astype(float)
        data = xgboost.DMatrix(x, label=y, feature_names=list(features))
        params = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.2, "subsample": 0.9, "nthread": 1}
        booster = xgboost.train({**params, "seed": seed}, data, 30)
        folder = self.folder.parent / f"model-{seed}"
        folder.mkdir()
        framework = frameworks.framework_of(booster)
        framework.save(booster, folder, x)
        ref = artefacts.save(
            self.documents, folder, {"framework": framework.NAME, "task": "binary", "label": "y", "features": features}
        )
        return ref.digest, lambda rows: booster.predict(xgboost.DMatrix(rows, feature_names=list(features)))


@pytest.fixture
def models(tmp_path: Path) -> Models:
    folder = tmp_path / "a lake"
    folder.mkdir()
    return Models(folder, Documents(folder.as_uri()))
