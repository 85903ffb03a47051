"""How good the answers were, as far as the truth has come: labels of later rows, joined by the entity's key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import metrics
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.training import encoded

PREDICTION = "_prediction"


@dataclass(frozen=True)
class Live:
    """Metrics over the rows whose label has come, and how many of all those are."""

    rows: int = 0
    labelled: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        """The share of entities whose label is known."""
        return self.labelled / self.rows if self.rows else 0.0


def measure(
    answers: pa.Table, labels: Snapshot, *, key: str, label: str, task: str, classes: Sequence[str | float | bool] = ()
) -> Live:
    """Metrics of the last answer for each entity.

    Args:
        answers: `key`, `_prediction` and `_time` of a window.
        labels: a table with `key` and `label`.
        key: what is the same in both.
        label: the truth.
        task: binary, multiclass or regression.
        classes: of the model, in its order.
    """
    for name in (key, label):
        if name not in labels.schema.names:
            raise StepError("TW583", f"the table of labels has no column {name!r}", retryable=False,
                            got=labels.schema.names, path="monitor.entity_key")  # fmt: skip
    last = _last(answers, key)
    known = labels.dataset().to_table(
        columns=[key, label], filter=pc.field(key).isin(_as(last[key], labels.schema.field(key).type))
    )
    truth = dict(zip(known[key].to_pylist(), known[label].to_pylist(), strict=True))
    keys = _as(last[key], labels.schema.field(key).type).to_pylist()
    found = pa.chunked_array([pa.array([truth.get(value) for value in keys], labels.schema.field(label).type)])
    usable = found.is_valid()
    if classes:
        usable = pc.and_(usable, pc.is_in(found, value_set=pa.array(list(classes), found.type)))
    count = pc.sum(usable).as_py() or 0
    if not count:
        return Live(rows=last.num_rows)
    y = encoded(found.filter(usable), tuple(classes))
    predictions = np.array(last[PREDICTION].filter(usable).to_pylist(), dtype=np.float64)
    return Live(last.num_rows, count, metrics.measure(task, y, predictions))


def _last(answers: pa.Table, key: str) -> pa.Table:
    """The latest answer for each entity that has a key."""
    kept = answers.filter(answers[key].is_valid()).sort_by([("_time", "descending")])
    first: dict[object, int] = {}
    for index, value in enumerate(kept[key].to_pylist()):
        first.setdefault(value, index)
    return kept.take(pa.array(first.values(), pa.int64()))


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    return column.combine_chunks().cast(kind)
