"""A lake with a table that can be learnt from, and requests of the steps that do so."""

from __future__ import annotations

import hashlib
import io
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import CodeRef, StepRequest
from tradewind_runtime.documents import Documents
from tradewind_runtime.lake import Lake

START = datetime(2013, 1, 1, tzinfo=UTC)
SPLIT = {"time": "at", "train": "20d", "valid": "5d", "test": "5d"}


def window(end_day: int = 30) -> Window:
    return Window(start=START, end=START + timedelta(days=end_day))


def rows(count: int = 1500, days: int = 30, seed: int = 1, task: str = "binary") -> pa.Table:
    """Two useful columns with gaps, one of noise, a key; a third of the label is chance."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 3))
    value = x[:, 0] - 0.7 * x[:, 1] + random.normal(scale=0.6, size=count)
    label: Any = value
    if task == "binary":
        label = (value > 0).astype(np.int64)
    elif task == "multiclass":
        label = np.array(["low", "middle", "top"])[np.digitize(value, [-0.6, 0.6])]
    gaps = random.random(count) < 0.05
    return pa.table(
        {
            "at": pa.array([START + timedelta(days=days) * i / count for i in range(count)], pa.timestamp("us", "UTC")),
            "a": pa.array(x[:, 0], mask=gaps),
            "b": x[:, 1],
            "noise": x[:, 2],
            "flag": x[:, 2] > 0,
            "key": [f"k{i}" for i in range(count)],
            "label": label,
            "_position": range(count),
        }
    )


def store(root: Path, table: pa.Table, name: str = "p/features") -> DatasetRef:
    return stored(Lake(root.as_uri()), table, name)


def stored(lake: Lake, rows: pa.Table, name: str = "p/features") -> DatasetRef:
    table = lake.table(name)
    version = table.commit(table.stage(rows.to_batches(), rows.schema, cut_by="at"), schema=rows.schema, replace="all")
    return DatasetRef(table=name, version=version)


def request(root: Path, step: str, config: dict[str, Any], **rest: Any) -> StepRequest:
    return StepRequest(
        **{
            "step": step,
            "id": step,
            "pipeline": "p",
            "run_id": "r1",
            "lake": root.as_uri(),
            "window": window(),
            "config": config,
            "settings": {"threads": 1},
        }
        | rest
    )


def train_config(**train: Any) -> dict[str, Any]:
    given = {"label": "label", "exclude": ["key"], "params": {"n_estimators": 10}} | train
    if "function" not in given:
        given.setdefault("estimator", "xgboost.XGBClassifier")
    else:
        given["params"] = train.get("params", {})
    return {"train": given, "split": SPLIT}


def archive(root: Path, **modules: str) -> CodeRef:
    return archived(Documents(root.as_uri()), **modules)


def archived(documents: Documents, **modules: str) -> CodeRef:
    """User code, in the lake as the operator would have put it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in modules.items():
            info = tarfile.TarInfo(f"include/models/{name}.py")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    digest = hashlib.sha256(repr(sorted(modules.items())).encode()).hexdigest()
    documents.create(f"code/{digest}.tar.gz", buffer.getvalue())
    return CodeRef(archive=digest, closure=digest)
