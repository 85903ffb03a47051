"""scikit-learn by skops: loads a fixed list of types and nothing else, whatever the file asks for."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.frameworks import Matrix, Predictor, comes_from

NAME = "sklearn"
FILE = "model.skops"
#: Besides what skops itself knows to be harmless. Never taken from the file.
TRUSTED = (
    "numpy.dtype",
    "sklearn.tree._tree.Tree",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.utils._bunch.Bunch",
)


def saves(model: object) -> bool:
    """Estimators and pipelines of scikit-learn itself."""
    return comes_from(model, "sklearn") and not comes_from(model, "xgboost") and hasattr(model, "predict")


def features(model: Any) -> tuple[str, ...] | None:
    """The columns of the frame that it was fitted on."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else tuple(str(name) for name in names)


def wrap(model: Any, threads: int = 1) -> Predictor:  # noqa: ARG001 - set when it was trained
    """Probabilities where there are classes, else values."""
    return _Estimator(model)


def save(model: Any, folder: Path, rows: Matrix) -> None:  # noqa: ARG001 - estimators are not traced
    """One file.

    Raises:
        StepError: TW552 where it holds a type that would not be loaded.
    """
    (folder / FILE).write_bytes(dumps(model))


def load(files: Mapping[str, bytes], threads: int = 1) -> Predictor:  # noqa: ARG001 - set when it was trained
    """From the very bytes that were hashed.

    Raises:
        StepError: TW560 where they hold a type that is not on the list.
    """
    return _Estimator(loads(files[FILE]))


def dumps(model: Any) -> bytes:
    """An estimator as bytes, fitted in part or whole.

    Raises:
        StepError: TW552 where it holds a type that would not be loaded.
    """
    import skops.io

    content = _canonical(skops.io.dumps(model))
    _check(content, "TW552", "use another estimator of scikit-learn; a step of your own class cannot be saved")
    return content


def loads(content: bytes) -> Any:
    """The estimator of such bytes.

    Raises:
        StepError: TW560 where they hold a type that is not on the list.
    """
    import skops.io

    _check(content, "TW560", "do not use this artefact: it was not saved by Tradewind")
    return skops.io.loads(content, trusted=list(TRUSTED))


class _Estimator:
    def __init__(self, model: Any) -> None:
        self._model = model
        if hasattr(model, "n_jobs"):
            model.n_jobs = 1

    def predict(self, x: Matrix) -> Matrix:
        """Probabilities where there are classes, else values."""
        import warnings

        with warnings.catch_warnings():  # fitted on a frame, asked with the same columns as a matrix
            warnings.filterwarnings("ignore", message="X does not have valid feature names")
            if not hasattr(self._model, "predict_proba"):
                return np.asarray(self._model.predict(x), dtype=np.float64)
            answer = np.asarray(self._model.predict_proba(x), dtype=np.float64)
        return answer[:, 1] if answer.shape[1] == 2 else answer


def _check(content: bytes, code: str, fix: str) -> None:
    import skops.io

    if unknown := sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED)):
        raise StepError(
            code,
            "the model holds types that are not loaded",
            retryable=False,
            got=", ".join(unknown),
            expected="types of scikit-learn that hold numbers alone",
            fix=fix,
        )


def _canonical(content: bytes) -> bytes:
    """The same archive without times and memory addresses, so that the same model gives the same bytes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read("schema.json"))
        names: dict[str, str] = {}
        _renumber(schema, {}, names)
        files = {names[name]: archive.read(name) for name in archive.namelist() if name in names}
    files["schema.json"] = json.dumps(schema).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _renumber(node: Any, ids: dict[int, int], names: dict[str, str]) -> None:
    """Number objects and files in the order in which they are met."""
    if isinstance(node, list):
        for item in node:
            _renumber(item, ids, names)
    if not isinstance(node, dict):
        return
    if node.get("is_json") and isinstance(node.get("__id__"), int):
        # Which equal numbers are one object in memory is chance, and nothing hangs on it.
        node["__id__"] = ids[-len(ids) - 1] = len(ids)
    elif isinstance(node.get("__id__"), int):
        node["__id__"] = ids.setdefault(node["__id__"], len(ids))
    if node.get("__loader__") and isinstance(node.get("file"), str):
        old = node["file"]
        node["file"] = names.setdefault(old, f"{len(names):06d}{Path(old).suffix}")
    for value in node.values():
        if isinstance(value, dict | list):
            _renumber(value, ids, names)
