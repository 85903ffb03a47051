"""From the tensors of a request to named columns, and from those to a model's matrix. Says what is wrong with them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Columns = Mapping[str, npt.NDArray[Any]]
_FLOATS = {"FP16", "FP32", "FP64"}
_INTEGERS = {f"{sign}INT{size}" for sign in ("", "U") for size in (8, 16, 32, 64)}


class BadRequestError(ValueError):
    """The client sent what the model cannot take; the message names the column."""


@dataclass(frozen=True)
class Tensor:
    """One input of a V2 request."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: Sequence[Any] | npt.NDArray[Any]


def columns(tensors: Sequence[Tensor], features: Sequence[str]) -> Columns:
    """Named columns of one length.

    One tensor for each column, [n] or [n,1], in any order and with any others besides the features; or a single
    [n,k] tensor that holds the features in their order.

    Raises:
        BadRequestError: where a tensor is not what it says it is.
    """
    if not tensors:
        raise BadRequestError("the request has no inputs")
    if len(tensors) == 1 and len(tensors[0].shape) == 2 and tensors[0].name not in features:
        return _split(tensors[0], features)
    found: dict[str, npt.NDArray[Any]] = {}
    for tensor in tensors:
        if tensor.name in found:
            raise BadRequestError(f"column {tensor.name!r} was sent twice")
        if not (len(tensor.shape) == 1 or (len(tensor.shape) == 2 and tensor.shape[1] == 1)):
            raise BadRequestError(f"column {tensor.name!r} has shape {list(tensor.shape)}; expected [n] or [n, 1]")
        found[tensor.name] = _values(tensor).reshape(-1)
    sizes = {name: len(values) for name, values in found.items()}
    rows = next(iter(sizes.values()))
    for name, size in sizes.items():
        if size != rows:
            raise BadRequestError(f"column {name!r} has {size} rows, and {next(iter(sizes))!r} has {rows}")
    if rows == 0:
        raise BadRequestError("the request has no rows")
    return found


def matrix(sent: Columns, features: Sequence[str]) -> npt.NDArray[np.float64]:
    """The features as [n, k], in their order; null is NaN.

    Raises:
        BadRequestError: where a feature is missing or is no number.
    """
    picked = []
    for name in features:
        values = sent.get(name)
        if values is None:
            others = [other for other in sent if other not in features]
            near = difflib.get_close_matches(name, others, n=1)
            hint = f"; did you mean it by {near[0]!r}?" if near else f"; the model takes {', '.join(features)}"
            raise BadRequestError(f"column {name!r} is missing{hint}")
        if values.dtype.kind not in "fiub":
            raise BadRequestError(f"column {name!r} was sent as BYTES; the model takes a number (FP64, INT64, BOOL)")
        picked.append(values.astype(np.float64, copy=False))
    found = np.column_stack(picked)
    if np.isinf(found).any():
        name = features[int(np.flatnonzero(np.isinf(found).any(axis=0))[0])]
        raise BadRequestError(f"column {name!r} holds an infinite number; send null where it is not known")
    return found


def _split(tensor: Tensor, features: Sequence[str]) -> Columns:
    if tensor.shape[1] != len(features):
        raise BadRequestError(
            f"tensor {tensor.name!r} has {tensor.shape[1]} columns; the model takes {len(features)}: "
            f"{', '.join(features)}"
        )
    values = _values(tensor).reshape(tensor.shape)
    if values.dtype.kind == "O":
        raise BadRequestError(f"tensor {tensor.name!r} was sent as BYTES; the model takes numbers (FP64)")
    if len(values) == 0:
        raise BadRequestError("the request has no rows")
    return {name: values[:, index] for index, name in enumerate(features)}


def _values(tensor: Tensor) -> npt.NDArray[Any]:
    """The tensor's data, flat, as float64, int64, bool or object (texts); never converted in silence."""
    raw = tensor.data if isinstance(tensor.data, np.ndarray) else _array(tensor)
    if raw.size != math.prod(tensor.shape) or any(size < 0 for size in tensor.shape):
        raise BadRequestError(f"column {tensor.name!r} holds {raw.size} values; its shape is {list(tensor.shape)}")
    values = raw.reshape(-1)
    kind = values.dtype.kind
    if tensor.datatype in _FLOATS:
        if kind in "fiu" or values.size == 0:
            return values.astype(np.float64)
        if kind == "O" and all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values):
            return values.astype(np.float64)
    elif tensor.datatype in _INTEGERS:
        if (kind == "i" or (kind == "u" and values.max(initial=0) < 2**63)) or values.size == 0:
            return values.astype(np.int64)
    elif tensor.datatype == "BOOL":
        if kind == "b" or values.size == 0 or (kind in "iu" and np.isin(values, (0, 1)).all()):
            return values.astype(np.bool_)
    elif tensor.datatype == "BYTES":
        return _texts(tensor.name, values)
    else:
        raise BadRequestError(
            f"column {tensor.name!r} has datatype {tensor.datatype!r}; expected FP64, FP32, INT64, INT32, BOOL or BYTES"
        )
    wrong = next((v for v in values.tolist() if not _fits(v, tensor.datatype)), None)
    raise BadRequestError(f"column {tensor.name!r} is said to be {tensor.datatype}; it holds {wrong!r}")


def _fits(value: Any, datatype: str) -> bool:
    if datatype in _FLOATS:
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if datatype == "BOOL":
        return value in (0, 1)
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    try:
        found = np.array(tensor.data)
        # Of mixed values NumPy makes texts; keep them as they are, so that the wrong one can be named.
        return np.array(tensor.data, dtype=object) if found.dtype.kind in "USO" else found
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRequestError(f"column {tensor.name!r} is not a regular tensor: {error}") from error


def _texts(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    found = np.empty(len(values), dtype=object)
    for index, value in enumerate(values.tolist()):
        if isinstance(value, bytes):
            try:
                found[index] = value.decode()
            except UnicodeDecodeError as error:
                raise BadRequestError(f"column {name!r} holds bytes that are not UTF-8") from error
        elif value is None or isinstance(value, str):
            found[index] = value
        else:
            raise BadRequestError(f"column {name!r} is said to be BYTES; it holds {value!r}")
    return found
