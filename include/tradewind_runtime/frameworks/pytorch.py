"""PyTorch: a module as ONNX, which is what is served, and its weights as safetensors.

What the module answers is what is served: let it end with a sigmoid or a softmax, and give it its own scaling.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.frameworks import Matrix, Predictor, comes_from, onnx

if TYPE_CHECKING:
    import torch

NAME = "pytorch"
WEIGHTS = "model.safetensors"


def saves(model: object) -> bool:
    """Modules, your own classes of them too."""
    return comes_from(model, "torch") and hasattr(model, "state_dict")


def features(model: Any) -> tuple[str, ...] | None:  # noqa: ARG001 - a module knows no names
    """Those that it was given."""
    return None


def wrap(model: Any, threads: int = 1) -> Predictor:  # noqa: ARG001 - torch has one number for the whole process
    """The module as it is, where it is."""
    return _Module(model)


def save(model: Any, folder: Path, rows: Matrix) -> None:
    """The graph, and the weights for whoever wants to train on.

    Raises:
        StepError: TW552 where the module cannot be exported.
    """
    import torch
    from safetensors.torch import save_file

    own = copy.deepcopy(model).cpu().eval()
    example = torch.from_numpy(np.ascontiguousarray(rows[:2], dtype=np.float32))
    try:
        program = torch.onnx.export(
            own,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            external_data=False,
            verbose=False,
        )
    except Exception as error:  # the exporter raises whatever it met
        raise StepError(
            "TW552",
            "the module cannot be exported to ONNX",
            retryable=False,
            got=str(error).strip().partition("\n")[0][:500],
            expected="forward(x) of one float32 tensor [rows, features], for any number of rows",
            fix="no control flow by values in forward; torch.onnx.export(module, (x,), dynamo=True) says more",
            docs="guides/training.md",
        ) from error
    onnx.save(program.model_proto, folder)
    weights = {name: value.detach().clone().contiguous() for name, value in own.state_dict().items()}
    save_file(weights, folder / WEIGHTS)


def load(files: Mapping[str, bytes], threads: int = 1) -> Predictor:
    """The graph alone, without PyTorch."""
    return onnx.load(files[onnx.FILE], threads)


def dumps(state: Any) -> bytes:
    """A state to go on from: `state_dict()`s and numbers, in dictionaries and lists, as safetensors and JSON.

    Raises:
        StepError: TW552 where it holds anything else.
    """
    import safetensors.torch

    tensors: dict[str, torch.Tensor] = {}
    return bytes(safetensors.torch.save(tensors, {"state": json.dumps(_outline(state, tensors))}))


def loads(state: bytes) -> Any:
    """What was given to `dumps`, on the CPU.

    `load_state_dict` brings each tensor to where it is used; steps that Adam counts and states of chance belong here.
    """
    import safetensors.torch

    length = int.from_bytes(state[:8], "little")
    outline = json.loads(json.loads(state[8 : 8 + length])["__metadata__"]["state"])
    return _filled(outline, safetensors.torch.load(state))


class _Module:
    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, x: Matrix) -> Matrix:
        """Without dropout and gradients; the module stays in training if it was."""
        import torch

        first = next(iter(self._model.state_dict().values()), None)
        rows = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
        was = self._model.training
        self._model.eval()
        with torch.no_grad():
            answer = self._model(rows if first is None else rows.to(first.device))
        self._model.train(was)
        return onnx.column(np.asarray(answer.cpu().numpy(), dtype=np.float64))


def _outline(state: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The state in JSON, with a tensor's name in its place. A dictionary is its pairs: keys may be numbers."""
    if hasattr(state, "detach"):
        tensors[str(len(tensors))] = state.detach().clone().contiguous()
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(state, Mapping):
        return {"pairs": [[key, _outline(value, tensors)] for key, value in state.items()]}
    if isinstance(state, list | tuple):
        return {"tuple" if isinstance(state, tuple) else "list": [_outline(value, tensors) for value in state]}
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise StepError(
        "TW552",
        "a checkpoint holds something that cannot be saved",
        retryable=False,
        got=type(state).__qualname__,
        expected="tensors, numbers and texts, in dictionaries and lists",
        docs="guides/training.md",
    )


def _filled(outline: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if not isinstance(outline, dict):
        return outline
    ((kind, value),) = outline.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "pairs":
        return {key: _filled(inner, tensors) for key, inner in value}
    filled = [_filled(inner, tensors) for inner in value]
    return tuple(filled) if kind == "tuple" else filled
