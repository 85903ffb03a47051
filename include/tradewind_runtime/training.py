"""What a training function is given: pinned rows, parameters, and a way to say how it goes.

The same context works in a notebook: `TrainContext.from_tables(train, valid, label="late")`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import devices
from tradewind_runtime.checkpoints import Checkpoints
from tradewind_runtime.contract.errors import StepError

if TYPE_CHECKING:
    import keras
    import pandas as pd
    import polars as pl
    import xgboost

    from tradewind_runtime.pruning import Pruning

Task = Literal["binary", "multiclass", "regression"]
Classes = tuple[str | int | float | bool, ...]
log = logging.getLogger("tradewind")


@dataclass(frozen=True)
class Rows:
    """The rows of one part, in the form that a library wants."""

    table: pa.Table = field(repr=False)
    features: tuple[str, ...]
    label: str
    classes: Classes = ()

    def arrow(self) -> pa.Table:
        """All columns, as they are."""
        return self.table

    def pandas(self) -> pd.DataFrame:
        """All columns, as pandas has them."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def polars(self) -> pl.DataFrame:
        """All columns, as Polars has them."""
        import polars as pl

        frame = pl.from_arrow(self.table)
        assert isinstance(frame, pl.DataFrame)
        return frame

    def numpy(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The features' matrix, nulls as NaN, and the label: 0 to k-1 where there are classes."""
        return matrix(self.table, self.features), encoded(self.table[self.label], self.classes)

    def dmatrix(self) -> xgboost.DMatrix:
        """XGBoost's own form, with the features' names."""
        import xgboost

        x, y = self.numpy()
        return xgboost.DMatrix(x, label=y, feature_names=xgboost_names(self.features))

    def __len__(self) -> int:
        return int(self.table.num_rows)


@dataclass
class TrainContext:
    """Handed to a training function. What it returns is saved."""

    train: Rows
    valid: Rows
    params: dict[str, Any] = field(default_factory=dict)
    task: Task = "binary"
    seed: int = 7
    threads: int = 1
    rank: int = 0
    workers: int = 1
    forced_device: Literal["cpu", "cuda"] | None = None
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    pruning: Pruning | None = field(default=None, repr=False)
    reported: dict[str, float] = field(default_factory=dict, init=False)
    _said: float = field(default_factory=time.monotonic, init=False, repr=False)

    @classmethod
    def from_tables(
        cls,
        train: Any,
        valid: Any,
        *,
        label: str,
        task: Task = "binary",
        features: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        **rest: Any,
    ) -> TrainContext:
        """A context of tables at hand: Arrow, pandas or Polars.

        Args:
            train: rows to learn from.
            valid: rows to stop early by.
            label: the column to predict.
            task: binary, multiclass or regression.
            features: columns to learn from; all but the label by default, and these must then be numbers.
            exclude: columns not to learn from.
            rest: `params`, `seed`, `threads`, `forced_device` and the like.
        """
        tables = [_arrow(train), _arrow(valid)]
        names = feature_names(tables[0].schema, label, features=features, exclude=exclude)
        classes = classes_of(tables[0][label], task)
        parts = [Rows(table, names, label, classes) for table in tables]
        return cls(parts[0], parts[1], task=task, **rest)

    @property
    def features(self) -> tuple[str, ...]:
        """Columns to learn from, in the order of the matrix."""
        return self.train.features

    @property
    def label(self) -> str:
        """The column to predict."""
        return self.train.label

    @property
    def classes(self) -> Classes:
        """The label's values, in the order of their numbers; none for a regression."""
        return self.train.classes

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """`cuda` where a GPU is visible and the frameworks that you imported are built for it, else `cpu`."""
        return self.forced_device or devices.chosen()

    def report(self, step: int, **metrics: float) -> None:
        """Say how it goes. Printed at most once a second; the last values are kept with the result.

        In a sweep with `prune`, the sweep's metric is compared with other trials', and training may end here.

        Raises:
            Pruned: where this trial is not to go on.
        """
        self.reported = {name: float(value) for name, value in metrics.items()}
        if time.monotonic() - self._said >= 1.0:
            self._said = time.monotonic()
            log.info("step %d: %s", step, ", ".join(f"{name} {value:.5g}" for name, value in self.reported.items()))
        if self.pruning is not None:
            self.pruning.look(step, self.reported)

    def report_model(self, step: int, model: object, metrics: Mapping[str, float]) -> None:
        """As `report`, with the sweep's own metric of the unfinished model where trials are compared by it."""
        watch = self.pruning if self.pruning is not None and self.pruning.due(step) else None
        self.report(step, **(dict(metrics) | dict(watch.measure(model) if watch else {})))

    def xgboost_callback(self) -> xgboost.callback.TrainingCallback:
        """Reports each round of XGBoost, and the sweep's own metric where trials are compared by it."""
        from tradewind_runtime.frameworks import xgboost

        return xgboost.callback(self)

    def boost(self, params: Mapping[str, Any], rounds: int, patience: int | None = None) -> xgboost.Booster:
        """`xgboost.train` that goes on from its checkpoint: to the very same model, unless rows or columns are sampled.

        Args:
            params: XGBoost's own. Seed, threads and device are this context's, unless they are given.
            rounds: at most.
            patience: stop after so many without a better last metric on the validation rows.
        """
        from tradewind_runtime.frameworks import xgboost

        return xgboost.boost(self, params, rounds, patience)

    def keras_callback(self) -> keras.callbacks.Callback:
        """Reports each epoch of Keras, and keeps the model as a checkpoint."""
        from tradewind_runtime.frameworks import keras

        return keras.callback(self)


def feature_names(
    schema: pa.Schema,
    label: str,
    *,
    features: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    time: str | None = None,
) -> tuple[str, ...]:
    """The columns to learn from: those named, or all but the label, the split's time, `exclude` and `_…`.

    Raises:
        StepError: TW553 where a column is missing or is not numeric.
    """
    missing = [name for name in (label, *(features or ())) if name not in schema.names]
    if missing:
        raise StepError(
            "TW553",
            f"the table has no column {', '.join(missing)}",
            retryable=False,
            got=schema.names,
            path="train.label" if label in missing else "train.features",
        )
    left = {label, time, *exclude}
    names = tuple(features or (n for n in schema.names if n not in left and not n.startswith("_")))
    if label in names:
        raise StepError("TW553", f"the label {label!r} is among the features", retryable=False, path="train.features")
    wrong = [f"{name} ({schema.field(name).type})" for name in names if not _numeric(schema.field(name).type)]
    if wrong:
        raise StepError(
            "TW553",
            f"features must be numbers: {', '.join(wrong)}",
            retryable=False,
            path="train.features",
            expected="integer, floating or boolean columns",
            fix="name them in train.exclude, or encode them in the transform (categories are not encoded here)",
        )
    if not names:
        raise StepError("TW553", "there is no column to learn from", retryable=False, got=schema.names)
    return names


def classes_of(column: pa.ChunkedArray, task: Task) -> Classes:
    """The label's values in order; none for a regression.

    Raises:
        StepError: TW554 where they do not suit the task.
    """
    if column.null_count:
        raise StepError(
            "TW554",
            f"the label is null in {column.null_count} of {len(column)} training rows",
            retryable=False,
            path="train.label",
            fix="leave such rows out in the transform",
        )
    if task == "regression":
        if not _numeric(column.type):
            raise StepError(
                "TW554", f"a regression needs a number as label, not {column.type}", retryable=False, path="train.task"
            )
        return ()
    values = pc.unique(column)
    if len(values) > 1000:
        raise StepError(
            "TW554",
            f"the label has {len(values)} values",
            retryable=False,
            path="train.task",
            expected="classes",
            fix="is it a regression?",
        )
    found = tuple(sorted(values.to_pylist()))
    if len(found) < 2 or (task == "binary" and len(found) > 2):
        raise StepError(
            "TW554",
            f"the training rows hold {len(found)} class{'es' if len(found) > 1 else ''} of the label",
            retryable=False,
            path="train.task",
            got=found[:10],
            expected="two classes" if task == "binary" else "two classes or more",
            fix="task: multiclass" if len(found) > 2 else "give the split a longer span, or look at the label",
        )
    return found


def encoded(column: pa.ChunkedArray, classes: Classes) -> npt.NDArray[np.float64]:
    """The label as numbers: a class's place in the order, or the value itself.

    Raises:
        StepError: TW554 where a row holds a class that was not in training, or none.
    """
    if column.null_count:
        raise StepError(
            "TW554",
            f"the label is null in {column.null_count} of {len(column)} rows",
            retryable=False,
            path="train.label",
            fix="leave such rows out in the transform",
        )
    if not classes:
        return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    known = pa.array(classes, column.type)
    found = pc.index_in(column, value_set=known)
    if found.null_count:
        new = pc.unique(column.filter(pc.is_null(found))).to_pylist()
        raise StepError(
            "TW554",
            "rows hold classes that the training rows do not",
            retryable=False,
            got=new[:10],
            expected=", ".join(map(str, classes)),
            path="train.label",
        )
    return np.asarray(found.to_numpy(), dtype=np.float64)


def matrix(table: pa.Table, features: Sequence[str]) -> npt.NDArray[np.float64]:
    """Columns as one matrix, nulls as NaN."""
    x = np.empty((table.num_rows, len(features)), dtype=np.float64, order="C")
    for index, name in enumerate(features):
        column = table[name]
        kind = pa.int8() if pa.types.is_boolean(column.type) else column.type
        x[:, index] = column.cast(kind).cast(pa.float64(), safe=False).fill_null(float("nan")).to_numpy()
    return x


def xgboost_names(features: Sequence[str]) -> list[str] | None:
    """The features' names, unless XGBoost refuses one of them; it then numbers the columns."""
    return None if any(set(name) & set("[]<") for name in features) else list(features)


def _numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def _arrow(table: Any) -> pa.Table:
    if isinstance(table, pa.Table):
        return table
    if hasattr(table, "to_arrow"):
        return table.to_arrow()
    return pa.Table.from_pandas(table, preserve_index=False)
