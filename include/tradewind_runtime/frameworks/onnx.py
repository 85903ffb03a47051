"""ONNX, which networks are served as: a graph and numbers, no code, answered without the library that trained them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.frameworks import Matrix, Predictor

FILE = "model.onnx"
#: protobuf's own limit; larger graphs keep their numbers in other files, which a server would have to trust.
LIMIT = 2**31 - 1


def load(content: bytes, threads: int = 1) -> Predictor:
    """From the very bytes that were hashed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return _Session(session)


def save(graph: Any, folder: Path) -> None:
    """One file, of a `ModelProto`, with nothing in it that another training of the same model would have otherwise.

    Raises:
        StepError: TW552 where it is too large for one file.
    """
    size = graph.ByteSize()
    if size > LIMIT:
        raise StepError(
            "TW552",
            f"the model is too large for one ONNX file: {size / 1e9:.1f} GB",
            retryable=False,
            expected="less than 2 GB",
            fix="return a smaller one",
        )
    (folder / FILE).write_bytes(_canonical(graph).SerializeToString(deterministic=True))


def column(answer: Matrix) -> Matrix:
    """One number a row where there is one; the second of two classes; else each class."""
    if answer.ndim == 2 and answer.shape[1] <= 2:
        return answer[:, -1]
    return answer


class _Session:
    def __init__(self, session: Any) -> None:
        self._session, self._input = session, session.get_inputs()[0].name

    def predict(self, x: Matrix) -> Matrix:
        """What the graph puts out first."""
        answer = self._session.run(None, {self._input: np.ascontiguousarray(x, dtype=np.float32)})[0]
        return column(np.asarray(answer, dtype=np.float64))


def _canonical(graph: Any) -> Any:
    """Without file names, traces and counters of the process that exported it."""
    found = type(graph)()
    found.CopyFrom(graph)
    inner = found.graph
    del inner.value_info[:]
    for part in (found, inner, *inner.node, *inner.input, *inner.output, *inner.initializer):
        part.ClearField("doc_string")
        del part.metadata_props[:]
    for part in (*inner.input, *inner.output):
        dimensions = part.type.tensor_type.shape.dim
        if dimensions:
            dimensions[0].dim_param = "rows"
    return found
