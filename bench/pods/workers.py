"""What more pods bring to a training: XGBoost and PyTorch on one, two and four, each with the same share of a core.

Told are the seconds of the rounds or epochs alone, and those of the whole step: its companions' start, and everybody's
reading of the rows. The share is small enough that all of them have theirs on this machine, and the cluster its own.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.cluster import companions
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.images import builder

from bench.distributed import FUNCTION, table
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.contract.resources import Resources

WORKERS, CPU, ROWS = (1, 2, 4), 0.3, 400_000
XGBOOST = FUNCTION.replace("ROUNDS", "20")
TORCH = """
import time
import torch
from torch import nn

def train(ctx):
    torch.manual_seed(ctx.seed)
    x, y = (torch.tensor(part, dtype=torch.float32) for part in ctx.train.numpy())
    body = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1), nn.Sigmoid())
    whole = nn.parallel.DistributedDataParallel(body) if ctx.workers > 1 else body
    optimizer, loss = torch.optim.Adam(body.parameters(), lr=0.002), nn.BCELoss()
    began = time.perf_counter()
    for epoch in range(3):
        for part, wanted in zip(x.split(8192 // ctx.workers), y.split(8192 // ctx.workers)):
            optimizer.zero_grad()
            loss(whole(part)[:, 0], wanted).backward()
            optimizer.step()
    ctx.report(3, rounds_seconds=time.perf_counter() - began)
    return body
"""


def measure(cluster: Cluster, repeat: int, rows: int = ROWS) -> dict[str, Any]:
    """Both frameworks, each by the image that has it."""
    found = {"cpu": CPU, "rows": rows, "repeat": repeat}
    for framework, target, function in (("xgboost", "steps", XGBOOST), ("torch", "steps-torch", TORCH)):
        image = os.environ.get(f"{target.upper().replace('-', '_')}_IMAGE") or builder().build(target).name
        with tempfile.TemporaryDirectory() as folder:
            resources = Resources(cpu=CPU, memory="1500Mi")
            with companions.opened(cluster, image, Path(folder), resources) as place:
                found[framework] = list(_each(_training(place, framework, function, rows), place, repeat))
    return found


def _training(place: companions.Place, framework: str, function: str, rows: int) -> Callable[[int, int], StepRequest]:
    """Of so many workers, the so manyth time."""
    features, content = place.lake.table("p/features"), table(rows)
    version = features.commit(features.stage(content.to_batches(), content.schema), schema=content.schema)

    def asked(workers: int, attempt: int) -> StepRequest:
        train: dict[str, Any] = {"exclude": [], "seed": 7}
        if workers > 1:
            train["distributed"] = {"workers": workers, "framework": framework}
        more = {"train": train, "split": {"random": {"valid": 0.05, "test": 0.05}}}
        learnt = DatasetRef(table="p/features", version=version)
        request = place.request("train", learnt, "mine:train", more, mine=function)
        return request.model_copy(update={"run_id": f"r{attempt}", "refresh": f"r{attempt}"})

    return asked


def _each(asked: Callable[[int, int], StepRequest], place: companions.Place, repeat: int) -> Iterator[dict[str, Any]]:
    """Figures of one, two and four, in turns."""
    runs: dict[int, list[tuple[float, StepResult]]] = {workers: [] for workers in WORKERS}
    for attempt in range(-1, repeat):  # once before, for the image to be there
        for workers in WORKERS:
            request = asked(workers, attempt)
            began = time.monotonic()
            place.ended(place.start(request), seconds=1200)
            if attempt >= 0:
                runs[workers].append((time.monotonic() - began, place.result(request)))
    alone = _rounds(runs[1])
    for workers, done in runs.items():
        yield {
            "workers": workers, "rounds_seconds": round(_rounds(done), 2), "times_one": round(alone / _rounds(done), 2),
            "step_seconds": round(statistics.median(seconds for seconds, _ in done), 1),
            "valid_roc_auc": round(done[0][1].metrics["valid_roc_auc"], 4),
            "raw": [result.metrics["last_rounds_seconds"] for _, result in done],
        }  # fmt: skip


def _rounds(done: list[tuple[float, StepResult]]) -> float:
    return statistics.median(result.metrics["last_rounds_seconds"] for _, result in done)
