"""A lake with a trained model and captured requests to it, as monitoring finds them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from tradewind_runtime import artefacts, drift, frameworks
from tradewind_runtime.contract.monitor import MonitorConfig
from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.lake import Lake

FEATURES = ("a", "b", "c")
START = datetime(2013, 6, 1, tzinfo=UTC)


def day(number: int, days: int = 1) -> Window:
    return Window(start=START + timedelta(days=number), end=START + timedelta(days=number + days))


def numbers(rows: int, seed: int, moved: Sequence[str] = ()) -> dict[str, npt.NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(1.5 if name in moved else 0.0, size=rows) for name in FEATURES}


def model(lake: Lake, folder: Path, seed: int = 0, *, sample: bool = True) -> str:
    """A saved artefact with its profile and reference; its digest."""
    columns = numbers(5000, seed)
    x = np.column_stack([columns[name] for name in FEATURES])
    fitted = LogisticRegression().fit(x, (x[:, 0] > x[:, 1]).astype(int))
    fitted.feature_names_in_ = np.array(FEATURES, dtype=object)
    folder.mkdir()
    framework = frameworks.framework_of(fitted)
    framework.save(fitted, folder, x)
    table = pa.table(columns)
    (folder / "profile.json").write_text(drift.profile(table, FEATURES).model_dump_json())
    if sample:
        (folder / "reference.arrow").write_bytes(drift.reference(table, FEATURES))
    return artefacts.save(lake.documents, folder, {
        "framework": framework.NAME, "task": "binary", "features": FEATURES, "label": "y", "classes": (0, 1),
    }).digest  # fmt: skip


def captured(digest: str, window: Window, rows: int, *, seed: int, moved: Sequence[str] = (), text_time: bool = True,
             arm: str = "stable") -> pa.Table:  # fmt: skip
    """Requests of a window, evenly, and the answers to them."""
    columns = numbers(rows, seed, moved)
    step = (window.end - window.start) / rows
    at = [window.start + step * n for n in range(rows)]
    event: Any = (
        [f"{value:%Y-%m-%dT%H:%M:%SZ}" for value in at] if text_time else pa.array(at, pa.timestamp("us", "UTC"))
    )
    answers = 1 / (1 + np.exp(-(columns["a"] - columns["b"])))
    return pa.table(columns | {
        "key": pa.array([seed * 1_000_000 + n for n in range(rows)]), "at": event, "_prediction": answers,
        "_digest": [digest] * rows, "_arm": [arm] * rows, "_generation": [1] * rows, "_request": ["r"] * rows,
        "_time": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * rows, pa.timestamp("us", "UTC")),
    })  # fmt: skip


def append(lake: Lake, rows: pa.Table, name: str = "p/m_requests") -> DatasetRef:
    table = lake.table(name)
    files = table.stage(rows.to_batches(), rows.schema) if rows.num_rows else []
    table.create(rows.schema)
    version = table.commit(files, schema=rows.schema)
    return DatasetRef(table=name, version=version)


def monitor_request(lake: Lake, requests: DatasetRef, window: Window, *, labels: DatasetRef | None = None,
                    pins: dict[str, Any] | None = None, **monitor: Any) -> StepRequest:  # fmt: skip
    config = MonitorConfig.model_validate({"endpoint": "m", "label": "y", "monitor": {"time": "at"} | monitor})
    inputs: dict[str, Any] = {"requests": requests} | ({"labels": labels} if labels else {})
    return StepRequest(
        step="monitor", id="drift", pipeline="p", run_id="r1", lake=lake.root, window=window, inputs=inputs,
        pins=pins or {}, config=config.model_dump(mode="json", by_alias=True, exclude_none=True),
    )  # fmt: skip
