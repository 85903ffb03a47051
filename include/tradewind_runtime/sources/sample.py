"""Data sets that scikit-learn ships; the label is the column `target`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import sklearn
import sklearn.datasets

from tradewind_runtime.contract.sources import SampleSource, Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Table
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.sources import Access, Chunk
from tradewind_runtime.sources.columns import PROVENANCE, TIMESTAMP, conform, known


def end_position(source: Source, access: Access) -> dict[str, str]:  # noqa: ARG001 - as every source
    """Its name, and the release that it comes with."""
    return {_sample(source).name: sklearn.__version__}


def read(source: Source, access: Access, end: Mapping[str, Any], table: Table) -> Iterator[Chunk]:  # noqa: ARG001
    """All rows, once: the data sets do not change from release to release."""
    name = _sample(source).name
    id = f"sample:{name}"
    if table.position(id) is not None:
        return
    raw = _load(name)
    typed = conform(raw, known(source, None)) if source.columns else conform(raw, raw.schema)
    rows, schema = typed.rows, pa.schema([*typed.rows.schema, *PROVENANCE])
    rows = (
        rows.append_column("_source", pa.repeat(pa.scalar(name), rows.num_rows))
        .append_column("_position", pa.array(typed.kept, pa.int64()))
        .append_column("_ingested", pa.repeat(pa.scalar(datetime.now(UTC), TIMESTAMP), rows.num_rows))
    )
    bad = [Bad(name, row, reason, None, id) for row, reason in sorted(typed.refused.items())]
    yield Chunk(schema, rows.combine_chunks().to_batches(), {id: Advance(None, 1)}, {id: 1}, bad)


def _sample(source: Source) -> SampleSource:
    assert source.sample is not None
    return source.sample


def _load(name: str) -> pa.Table:
    found = getattr(sklearn.datasets, f"load_{name}")()
    names = [_safe(str(column)) for column in found.feature_names]
    columns = [pa.array(found.data[:, index], pa.float64()) for index in range(len(names))]
    label = pa.array(found.target)
    columns.append(label.cast(pa.int64()) if pa.types.is_integer(label.type) else label.cast(pa.float64()))
    return pa.table(columns, names=[*names, "target"])


def _safe(name: str) -> str:
    """`sepal length (cm)` as sepal_length_cm."""
    return re.sub(r"\W+", "_", name).strip("_")
