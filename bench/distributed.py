"""What more workers bring to a training of XGBoost, and what they cost: one, two and three processes of this machine.

    python -m bench.distributed [--rows 400000] [--repeat 3]

The same rows and rounds, one thread a worker. Told are the seconds of the rounds alone, those of the whole step (with
its companions' start and everybody's reading of the rows), and the model's score, which more workers must not change.
More workers than cores bring nothing but their own cost, so each figure has the cores beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import statistics
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.results import write
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import CodeRef, StepRequest, StepResult

WORKERS, ROUNDS, COLUMNS = (1, 2, 3), 60, 20
FUNCTION = """
import time

def train(ctx):
    began = time.perf_counter()
    model = ctx.boost({"objective": "binary:logistic", "eval_metric": "auc", "max_depth": 8, "eta": 0.1}, ROUNDS)
    ctx.report(ROUNDS, rounds_seconds=time.perf_counter() - began)
    return model
"""


def table(count: int) -> pa.Table:
    """Rows whose label has something to be learnt, and chance."""
    random = np.random.default_rng(7)
    x = random.normal(size=(count, COLUMNS))
    value = x[:, 0] * x[:, 1] + np.sin(x[:, 2] * 2) + 0.5 * x[:, 3] + random.normal(scale=0.8, size=count)
    return pa.table({f"x{n}": x[:, n] for n in range(COLUMNS)} | {"label": (value > 0).astype(np.int64)})


def lake(root: Path, rows: pa.Table) -> tuple[DatasetRef, CodeRef]:
    """Rows and code, as the steps before leave them."""
    from tradewind_runtime.lake import Lake

    documents = Lake(root.as_uri())
    features = documents.table("p/features")
    version = features.commit(features.stage(rows.to_batches(), rows.schema), schema=rows.schema, replace="all")
    text = FUNCTION.replace("ROUNDS", str(ROUNDS)).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("include/models/mine.py")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    name = hashlib.sha256(text).hexdigest()
    documents.documents.create(f"code/{name}.tar.gz", buffer.getvalue())
    return DatasetRef(table="p/features", version=version), CodeRef(archive=name, closure=name)


def train(root: Path, given: tuple[DatasetRef, CodeRef], workers: int, attempt: int) -> tuple[float, StepResult]:
    """The step itself: its seconds in all, and its result."""
    from tradewind_runtime.execute import execute

    block: dict[str, Any] = {"label": "label", "function": "mine:train"}
    if workers > 1:
        block["distributed"] = {"workers": workers, "framework": "xgboost"}
    config = {"train": block, "split": {"random": {"valid": 0.05, "test": 0.05}}}
    request = StepRequest(
        step="train", id="train", pipeline="p", run_id=f"r{attempt}", refresh=f"r{attempt}", lake=root.as_uri(),
        config=config, inputs={"features": given[0]}, code=given[1], settings={"threads": 1},
    )  # fmt: skip
    began = time.perf_counter()
    result = execute(request)
    return time.perf_counter() - began, result


def main() -> int:
    """Each number of workers in turn, so often."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    found: dict[int, list[tuple[float, StepResult]]] = {count: [] for count in WORKERS}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        given = lake(root, table(options.rows))
        for attempt in range(options.repeat):
            for count in WORKERS:
                found[count].append(train(root, given, count, attempt))
    told = []
    for count, runs in found.items():
        rounds = statistics.median(result.metrics["last_rounds_seconds"] for _, result in runs)
        told.append(
            {
                "workers": count,
                "rounds_seconds": round(rounds, 2),
                "step_seconds": round(statistics.median(seconds for seconds, _ in runs), 2),
                "valid_roc_auc": round(runs[0][1].metrics["valid_roc_auc"], 5),
                "rows_per_worker": int(runs[0][1].metrics["rows_train"]) // count,
            }
        )
    for one in told:
        one["speedup_of_rounds"] = round(told[0]["rounds_seconds"] / one["rounds_seconds"], 2)
        print(one, flush=True)
    write(
        "distributed",
        {
            "rows": options.rows,
            "rounds": ROUNDS,
            "repeat": options.repeat,
            "found": told,
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
