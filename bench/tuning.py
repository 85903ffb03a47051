"""What a sweep adds: 12 trials of half a second on two warm workers, beside a bare pool of two processes.

    python -m bench.tuning [--repeat 3]

A trial sleeps, so that the figure is the sweep's own: asking, requests, results, hand-over. Both begin with their
workers started and their imports done; starting takes a few seconds, once a sweep, and is told apart. Each tuner is
held to the goal by itself, and once more with a budget, which hands a worker nothing in advance, and rungs at which
trials are compared. A sweep that tells MLflow, in a new file, is told and not held: to import MLflow and to lay out its
database costs seconds once, and a trial nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import statistics
import tarfile
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from bench.results import write

TRIALS, WORKERS, SECONDS, GOAL = 12, 2, 0.5, 1.1
FUNCTION = f"""
import time
import xgboost
def train(ctx):
    time.sleep({SECONDS})
    params = {{"nthread": 1, "max_depth": 2, "alpha": ctx.params["alpha"]}}
    return xgboost.train(params, ctx.train.dmatrix(), 1, callbacks=[ctx.xgboost_callback()])
"""


def bare() -> float:
    """Twelve sleeps, handed one by one to two processes that wait for them."""
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        pool.map(time.sleep, [0.05] * WORKERS * 2, chunksize=1)
        began = time.perf_counter()
        pool.map(time.sleep, [SECONDS] * TRIALS, chunksize=1)
        return time.perf_counter() - began


#: What the YAML says of each sweep, and what the profile does.
SWEEPS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "hyperopt": ("hyperopt", {}, {}),
    "optuna": ("optuna", {}, {}),
    "budget_and_rungs": (
        "optuna",
        {"prune": {"median": {"warmup": 0, "interval": 1, "trials": 100}}, "budget": {"time": "1h"}},
        {},
    ),
    "mlflow": ("optuna", {}, {"mlflow_uri": "sqlite:///{root}/mlflow.db"}),
}
HELD = ("hyperopt", "optuna", "budget_and_rungs")


def sweep(root: Path, name: str) -> tuple[float, float]:
    """The step `tune` itself: seconds from the first trial to the last, and in all."""
    from tradewind_runtime.execute import execute
    from tradewind_runtime.launchers.pool import Pool

    marks: list[float] = []
    start = Pool.__enter__

    def entered(pool: Pool) -> Pool:
        start(pool)
        pool.warm()
        marks.append(time.perf_counter())
        return pool

    began = time.perf_counter()
    with mock.patch.object(Pool, "__enter__", entered):
        result = execute(request(root, *SWEEPS[name]))
    ended = time.perf_counter()
    assert result.metrics["trials"] == TRIALS
    assert result.metrics["failed"] == 0
    return ended - marks[0], ended - began


def request(root: Path, tuner: str, search: dict[str, Any], settings: dict[str, Any]) -> Any:
    """A small table, a function that sleeps, and the sweep over both."""
    import pyarrow as pa

    from tradewind_runtime.contract.refs import DatasetRef, Window
    from tradewind_runtime.contract.request import CodeRef, StepRequest
    from tradewind_runtime.lake import Lake

    lake = Lake(root.as_uri())
    first = datetime(2013, 1, 1, tzinfo=UTC)
    table = pa.table(
        {
            "at": pa.array([first + timedelta(hours=h) for h in range(720)], pa.timestamp("us", "UTC")),
            "x": [h % 17 / 17 for h in range(720)],
            "y": [h % 5 / 5 for h in range(720)],
        }
    )
    features = lake.table("bench/features")
    version = features.commit(features.stage(table.to_batches(), table.schema), schema=table.schema)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("include/models/sleepy.py")
        info.size = len(FUNCTION)
        archive.addfile(info, io.BytesIO(FUNCTION.encode()))
    digest = hashlib.sha256(FUNCTION.encode()).hexdigest()
    lake.documents.create(f"code/{digest}.tar.gz", buffer.getvalue())
    space = {"alpha": {"log": [0.001, 10]}}
    return StepRequest(
        step="tune",
        id="tune",
        pipeline="bench",
        run_id="bench",
        lake=root.as_uri(),
        window=Window(start=first, end=first + timedelta(days=30)),
        code=CodeRef(archive=digest, closure=digest),
        inputs={"features": DatasetRef(table="bench/features", version=version)},
        config={
            "train": {"function": "sleepy:train", "label": "y", "task": "regression"},
            "split": {"time": "at", "train": "20d", "valid": "5d", "test": "5d"},
            "tune": {
                tuner: {
                    "trials": TRIALS,
                    "parallel": WORKERS,
                    "metric": "rmse",
                    "direction": "minimize",
                    "space": space,
                }
                | search
            },
        },
        settings={key: value.format(root=root) for key, value in settings.items()},
    )


def main() -> int:
    """Both, in turn, a few times; exit code 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    runs = []
    for _ in range(options.repeat):
        alone = bare()
        for name in SWEEPS:
            with tempfile.TemporaryDirectory() as folder:
                ours, whole = sweep(Path(folder), name)
            figures = {"bare_pool": round(alone, 3), "sweep": round(ours, 3), "with_start": round(whole, 3)}
            runs.append({"of": name} | figures)
    ratios = {
        name: round(statistics.median(run["sweep"] / run["bare_pool"] for run in runs if run["of"] == name), 3)
        for name in SWEEPS
    }
    body = {
        "ok": max(ratios[name] for name in HELD) <= GOAL,
        "trials": TRIALS,
        "workers": WORKERS,
        "seconds": SECONDS,
        "ratio": ratios,
        "goal": GOAL,
        "runs": runs,
    }
    print(json.dumps(body, indent=1))
    write("tuning", body)
    return 0 if body["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
