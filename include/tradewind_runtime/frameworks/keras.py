"""Keras: a model as ONNX, which is what is served, and as `.keras`, which holds no code either."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.frameworks import Matrix, Predictor, comes_from, onnx

if TYPE_CHECKING:
    import keras

    from tradewind_runtime.training import TrainContext

NAME = "keras"
FILE = "model.keras"
#: Rows that are answered at a time.
BATCH = 4096


def saves(model: object) -> bool:
    """Models of Keras 3, whatever computes them."""
    return comes_from(model, "keras") and hasattr(model, "predict")


def features(model: Any) -> tuple[str, ...] | None:  # noqa: ARG001 - a model knows no names
    """Those that it was given."""
    return None


def wrap(model: Any, threads: int = 1) -> Predictor:  # noqa: ARG001 - the backend has its own
    """The model as it is."""
    return _Model(model)


def save(model: Any, folder: Path, rows: Matrix) -> None:  # noqa: ARG001 - the model knows its input
    """The graph, and the model for whoever wants to train on.

    Raises:
        StepError: TW552 where it needs code of its own to be loaded, or cannot be exported.
    """
    again = reloaded(model)
    # A model that was loaded once is written a little otherwise, and one that went on from a checkpoint was.
    (folder / FILE).write_bytes(dumps(again))
    try:
        graph = _graph(model)
    except Exception as error:  # as do its exporters
        raise _unfit("the model cannot be exported to ONNX", error) from error
    onnx.save(graph, folder)


def load(files: Mapping[str, bytes], threads: int = 1) -> Predictor:
    """The graph alone, without Keras."""
    return onnx.load(files[onnx.FILE], threads)


def dumps(model: keras.Model) -> bytes:
    """A model with the state of its optimizer, in Keras's own format: a state to go on from."""
    # In a thread of its own: Keras makes variables as it saves, in a strategy's scope with all workers, who do not.
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(_saved, model).result()


def _saved(model: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / FILE
        model.save(path)
        return _canonical(path.read_bytes())


def reloaded(model: keras.Model) -> keras.Model:
    """The model, saved and loaded.

    Raises:
        StepError: TW552 where it needs code of its own for that.
    """
    try:
        return loads(dumps(model))
    except Exception as error:  # Keras raises whatever it met
        raise _unfit("the model cannot be loaded again", error) from error


def loads(content: bytes) -> keras.Model:
    """The model of such bytes. Code in it is refused, not run."""
    import keras

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / FILE
        path.write_bytes(content)
        return keras.saving.load_model(path, safe_mode=True)


def callback(context: TrainContext) -> keras.callbacks.Callback:
    """Reports each epoch of a `fit`, and keeps the model after it as a checkpoint."""
    import keras

    class Report(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            context.report_model(epoch, self.model, {name: float(value) for name, value in (logs or {}).items()})
            context.checkpoints.offer(epoch + 1, lambda: dumps(self.model))

    return Report()


class _Model:
    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, x: Matrix) -> Matrix:
        """Without dropout."""
        answer = self._model.predict(np.asarray(x, dtype=np.float32), batch_size=BATCH, verbose=0)
        return onnx.column(np.asarray(answer, dtype=np.float64))


def _graph(model: Any) -> Any:
    """The model as a `ModelProto` of one input.

    Keras's own export makes inputs of what a layer holds besides its weights (the mean of a `Normalization`), where
    TensorFlow computes it; those are numbers here.
    """
    import keras
    import onnx as library

    if keras.backend.backend() != "tensorflow":
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / onnx.FILE
            model.export(str(path), format="onnx", verbose=False)
            return library.load(path)
    import tensorflow as tf
    import tf2onnx

    given = [tf.TensorSpec(model.input_shape, tf.float32, name="x")]
    function = tf.function(lambda x: model(x, training=False), input_signature=given, autograph=False)
    captured = {inner.name: outer for outer, inner in function.get_concrete_function().graph.captures}
    graph, _ = tf2onnx.convert.from_function(function, input_signature=given, opset=18)
    held = [one for one in graph.graph.input if one.name in captured]
    for one in held:
        graph.graph.input.remove(one)
        graph.graph.initializer.append(library.numpy_helper.from_array(captured[one.name].numpy(), one.name))
    return graph


def _unfit(what: str, error: Exception) -> StepError:
    return StepError(
        "TW552",
        what,
        retryable=False,
        got=str(error).strip().partition("\n")[0][:500],
        expected="layers of Keras on one input [rows, features], without Lambda or classes of your own",
        fix="keras.saving.load_model(path, safe_mode=True) and model.export(path, format='onnx') say more",
        docs="guides/training.md",
    )


def _canonical(content: bytes) -> bytes:
    """The same archive without times and memory addresses, so that the same model gives the same bytes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(files["metadata.json"])
    metadata.pop("date_saved", None)
    config = json.loads(files["config.json"])
    _renumber(config, {})
    files |= {"metadata.json": json.dumps(metadata).encode(), "config.json": json.dumps(config).encode()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name])
    return buffer.getvalue()


def _renumber(node: Any, ids: dict[int, int]) -> None:
    """Number shared objects in the order in which they are met."""
    if isinstance(node, dict):
        if isinstance(node.get("shared_object_id"), int):
            node["shared_object_id"] = ids.setdefault(node["shared_object_id"], len(ids))
        for value in node.values():
            _renumber(value, ids)
    elif isinstance(node, list):
        for item in node:
            _renumber(item, ids)
