"""How models of one library are saved and loaded: one module a framework, and no pickle in any.

A new framework is one module with `NAME`, `saves`, `features`, `wrap`, `save` and `load`, and one line below. This
package is used by the model server too, in an environment with no pandas.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from tradewind_runtime.artefacts import Artefact
from tradewind_runtime.contract.errors import StepError

Matrix = npt.NDArray[np.float64]

#: Modules of this package; each says what it can save.
FRAMEWORKS = ("xgboost", "sklearn", "keras", "pytorch")  # a model of Keras may be a module of PyTorch too


class Predictor(Protocol):
    """A loaded model."""

    def predict(self, x: Matrix) -> Matrix:
        """For rows `[n, k]`: probability of class 1 `[n]`, of each class `[n, classes]`, or values `[n]`."""


class Framework(Protocol):
    """What a module of this package offers."""

    NAME: str

    def saves(self, model: object) -> bool:
        """Whether it can save a model. Imports no library that the model does not come from."""

    def features(self, model: Any) -> tuple[str, ...] | None:
        """The columns that a model was fitted on, if it knows them."""

    def wrap(self, model: Any, threads: int = 1) -> Predictor:
        """A model that was just fitted, as it would answer once saved and loaded."""

    def save(self, model: Any, folder: Path, rows: Matrix) -> None:
        """Write the model's files: the same model gives the same bytes. `rows` are some that it can be traced by."""

    def load(self, files: Mapping[str, bytes], threads: int = 1) -> Predictor:
        """The model of verified bytes."""


def framework(name: str) -> Framework:
    """A framework's module.

    Raises:
        StepError: TW558 where there is none of that name.
    """
    if name not in FRAMEWORKS:
        raise StepError("TW558", f"there is no framework {name!r}", retryable=False, expected=", ".join(FRAMEWORKS))
    return cast("Framework", importlib.import_module(f"tradewind_runtime.frameworks.{name}"))


def framework_of(model: object) -> Framework:
    """The framework that a model is saved by.

    Raises:
        StepError: TW552 where none can save it.
    """
    for name in FRAMEWORKS:
        if (found := framework(name)).saves(model):
            return found
    kind = type(model)
    raise StepError(
        "TW552",
        "the training function returned something that cannot be saved",
        retryable=False,
        got=f"{kind.__module__}.{kind.__qualname__}",
        expected="a model of XGBoost, scikit-learn, Keras or PyTorch",
        fix="return the fitted model itself",
        docs="guides/training.md",
    )


def predictor(artefact: Artefact, threads: int = 1) -> Predictor:
    """A verified artefact's model, ready to answer."""
    return framework(artefact.manifest.framework).load(artefact.files, threads)


def answers(model: Predictor, x: Matrix) -> tuple[Matrix | None, tuple[str, ...]]:
    """A model's predictions, or why there are none: some models refuse NaN, others a column too many."""
    try:
        return model.predict(x), ()
    except Exception as error:  # a library may raise anything, and it is the model's fault
        first = str(error).strip().partition("\n")[0]
        gaps = ", and the features have gaps: put an imputer in front" if "NaN" in first else ""
        return None, (f"the model does not answer these rows ({type(error).__name__}: {first}{gaps})",)


def comes_from(model: object, package: str) -> bool:
    """Whether any class of a model is of a package, without importing the package."""
    return any(kind.__module__.partition(".")[0] == package for kind in type(model).__mro__)
