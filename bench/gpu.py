"""Training on the GPU beside the CPU of the same machine: how much sooner it is done, and that it learns the same.

    PYTHONPATH=plugins:include:. python -m bench.gpu [--rows 1000000] [--epochs 5] [--rounds 100]

Needs a GPU, PyTorch (`make setup EXTRAS=torch`), and for boosting a build of XGBoost with CUDA. Each training is the
step `train` in a process of its own, as a task starts it, once with `device: cpu` in its settings and once with none:
the example network on its 569 rows, a wide network and boosted trees on a million. Once more on the GPU it is killed
with SIGKILL after its second checkpoint, and started again. What is held: the GPU is used, scores are no more than 0.01
apart, and the killed one ends with the very same model. The seconds are an epoch's or a round's, without the first,
which warms up; those of a step are all of it but the start of its process. `make bench` leaves it out, since most
machines have no GPU.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.results import write
from tradewind_runtime import devices
from tradewind_runtime.checkpoints import Checkpoints, checkpoints_path
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import CodeRef, StepRequest, StepResult
from tradewind_runtime.documents import Documents
from tradewind_runtime.lake import Lake

ROOT = Path(__file__).parents[1]
APART, COLUMNS = 0.01, 30
SPLIT = {"random": {"valid": 0.2, "test": 0.2}}
#: How long each epoch or round took, laid around a training function that reports them.
TIMED = """
import statistics, time
def timed(ctx):
    marks, report = [], ctx.report
    def said(step, **metrics):
        marks.append(time.perf_counter())
        report(step, seconds=statistics.median(between(marks) or [0.0]), **metrics)
    ctx.report = said
def between(marks):
    return [after - before for before, after in zip(marks, marks[1:])]
"""
WIDE = (
    TIMED
    + """
import torch
from torch import nn
from tradewind_runtime.frameworks.pytorch import dumps, loads
def train(ctx):
    timed(ctx)
    torch.manual_seed(ctx.seed)
    torch.set_num_threads(ctx.threads)
    x, y = (torch.tensor(part, dtype=torch.float32, device=ctx.device) for part in ctx.train.numpy())
    width, loss = 1024, nn.BCEWithLogitsLoss()
    first, second, last = nn.Linear(x.shape[1], width), nn.Linear(width, width), nn.Linear(width, 1)
    body = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last).to(ctx.device)
    optimizer = torch.optim.Adam(body.parameters(), lr=0.001)
    done, state = ctx.checkpoints.latest() or (0, None)
    if state:
        body.load_state_dict(loads(state)["body"])
        optimizer.load_state_dict(loads(state)["optimizer"])
    for epoch in range(done, ctx.params["epochs"]):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(ctx.seed + epoch)).to(ctx.device)
        for rows in order.split(8192):
            optimizer.zero_grad()
            error = loss(body(x[rows])[:, 0], y[rows])
            error.backward()
            optimizer.step()
        ctx.report(epoch, loss=error.item())
        parts = {"body": body, "optimizer": optimizer}
        ctx.checkpoints.offer(epoch + 1, lambda: dumps({name: part.state_dict() for name, part in parts.items()}))
    return nn.Sequential(body, nn.Sigmoid())
"""
)
BOOST = (
    TIMED
    + """
def train(ctx):
    timed(ctx)
    return ctx.boost({"objective": "binary:logistic", "eval_metric": "auc", "max_depth": 8}, ctx.params["rounds"])
"""
)
EXAMPLE = TIMED + (
    "import breast_cancer_torch\ndef train(ctx):\n    timed(ctx)\n    return breast_cancer_torch.train(ctx)\n"
)


def patients() -> pa.Table:
    """The example's own rows."""
    from sklearn.datasets import load_breast_cancer

    return pa.Table.from_pandas(load_breast_cancer(as_frame=True).frame, preserve_index=False)


def large(rows: int) -> pa.Table:
    """Numbers, some of which decide the label, not in a line and not alone."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(rows, COLUMNS)).astype(np.float32)
    value = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + np.abs(x[:, 3]) + rng.normal(scale=0.5, size=rows)
    return pa.table({f"c{n}": x[:, n] for n in range(COLUMNS)} | {"target": (value > 0.8).astype(np.int64)})


def store(root: Path, name: str, rows: pa.Table) -> DatasetRef:
    """As a transform would leave it."""
    table = Lake(root.as_uri()).table(name := f"bench/{name}")
    return DatasetRef(table=name, version=table.commit(table.stage(rows.to_batches(), rows.schema), schema=rows.schema))


def archive(root: Path, function: str) -> CodeRef:
    """The benchmark's function as user code, with the example that it may import."""
    buffer = io.BytesIO()
    example = ROOT / "include/models/breast_cancer_torch.py"
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in (("measured", function.encode()), (example.stem, example.read_bytes())):
            info = tarfile.TarInfo(f"include/models/{name}.py")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    digest = hashlib.sha256(function.encode()).hexdigest()
    Documents(root.as_uri()).create(f"code/{digest}.tar.gz", buffer.getvalue())
    return CodeRef(archive=digest, closure=digest)


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """How busy the GPU is meanwhile, and how much of its memory is taken, as the driver says five times a second."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms", "200"]
    found: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield found
        finally:
            process.terminate()
            lines = [line.split(", ") for line in process.communicate()[0].splitlines()]
    said = [(float(line[0]), float(line[1])) for line in lines if len(line) == 2 and line[0].isdigit()]
    busy = [use for use, _ in said if use]
    found["busy_percent_median"] = statistics.median(busy or [0.0])
    found["busy_percent_most"] = max(busy, default=0.0)
    found["memory_mib_most"] = max((memory for _, memory in said), default=0.0)


@dataclass(frozen=True)
class Training:
    """What is learnt, from which rows, with which library."""

    framework: str
    rows: str
    function: str
    params: dict[str, Any]


def asked(root: Path, training: Training, table: DatasetRef, name: str, **settings: Any) -> StepRequest:
    """The step's request; those of other names have results of their own."""
    return StepRequest(
        step="train",
        id="train",
        pipeline="bench",
        run_id="bench",
        lake=root.as_uri(),
        refresh=name,
        code=archive(root, training.function),
        inputs={"features": table},
        config={
            "train": {"function": "measured:train", "label": "target", "params": training.params},
            "split": SPLIT,
        },
        settings={"threads": os.cpu_count() or 1} | settings,
    )


def start(request: StepRequest) -> subprocess.Popen[bytes]:
    """As a task starts it."""
    path = f"requests/{request.fingerprint}.json"
    Documents(request.lake).put(path, request.model_dump_json().encode())
    command = [sys.executable, "-m", "tradewind_runtime", "--lake", request.lake, "--request", path]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def finished(request: StepRequest) -> StepResult:
    """Its result, once it has come to its end."""
    assert start(request).wait() == 0, "it says why"
    result = Documents(request.lake).get_model(request.result_path, StepResult)
    assert result is not None, "it exited with 0"
    return result


def figures(result: StepResult) -> dict[str, Any]:
    """What a result says."""
    return {
        "device": result.facts["device"],
        "seconds": round(result.metrics["last_seconds"], 5),
        "step_seconds": round((result.finished - result.started).total_seconds(), 2),
        "roc_auc": round(result.metrics["valid_roc_auc"], 5),
        "log_loss": round(result.metrics["valid_log_loss"], 5),
        "model": result.facts["digest"],
    }


def killed(request: StepRequest) -> dict[str, Any]:
    """After its second checkpoint, and started again."""
    kept = Checkpoints(Documents(request.lake), checkpoints_path(request.fingerprint))
    process = start(request)
    while len(list(kept.documents.names(kept.folder))) < 2:
        assert process.poll() is None, "it came to its end before"
        time.sleep(0.005)
    process.kill()
    process.wait()
    latest = kept.latest()
    return {"killed_after": latest[0] if latest else 0, "model": finished(request).facts["digest"]}


def measure(root: Path, name: str, training: Training, table: DatasetRef) -> dict[str, Any]:
    """On the CPU, on the GPU, and killed there."""
    found: dict[str, Any] = {}
    for asks, settings in (("cpu", {"device": "cpu"}), ("gpu", {})):
        with watched() as use:
            run = figures(finished(asked(root, training, table, asks, **settings)))
        print(
            f"{name:8}{run['device']:>4}{run['seconds']:12.5f}{run['step_seconds']:10.2f}{run['roc_auc']:10.4f}"
            f"{use['busy_percent_median']:8.0f}{use['memory_mib_most']:8.0f}",
            flush=True,
        )
        found[asks] = run | (use if asks == "gpu" else {})
    again = killed(asked(root, training, table, "killed", checkpoint_seconds=0))
    found["killed"] = again | {"same_model": again["model"] == found["gpu"]["model"]}
    print(f"{name:8}killed after {again['killed_after']}: same model {found['killed']['same_model']}", flush=True)
    return found


def good(run: dict[str, Any]) -> bool:
    """Whether one training is as it is held to be."""
    cpu, gpu = run["cpu"], run["gpu"]
    return bool(
        gpu["device"] == "cuda" and abs(gpu["roc_auc"] - cpu["roc_auc"]) <= APART and run["killed"]["same_model"]
    )


def main() -> int:
    """Each training on both; exit code 1 where the GPU is not used or learns otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    if not devices.gpus():
        print("no GPU is visible here")
        return 1
    found = [devices.device_of(name) for name in ("torch", "xgboost") if importlib.util.find_spec(name)]
    for one in found:
        print(f"{one.framework} {one.version}: {one.device}, {one.reason}", flush=True)
    works = {one.framework for one in found if one.device == "cuda"}
    trainings = {
        "example": Training("torch", "patients", EXAMPLE, {"epochs": 60}),
        "wide": Training("torch", "large", WIDE, {"epochs": options.epochs}),
        "boost": Training("xgboost", "large", BOOST, {"rounds": options.rounds}),
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tables = {"patients": store(root, "patients", patients()), "large": store(root, "large", large(options.rows))}
        print(f"\n{'':12}{'unit, s':>12}{'step, s':>10}{'ROC AUC':>10}{'busy %':>8}{'MiB':>8}", flush=True)
        runs = {
            name: measure(root, name, training, tables[training.rows])
            for name, training in trainings.items()
            if training.framework in works
        }
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    body = {
        "ok": bool(runs) and all(map(good, runs.values())),
        "card": subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip(),
        "frameworks": [asdict(one) for one in found],
        "versions": {name: version(name) for name in ("numpy", "pyarrow", "onnx", "onnxruntime", "safetensors")},
        "rows": options.rows,
        "columns": COLUMNS,
        "times_sooner": {name: round(run["cpu"]["seconds"] / run["gpu"]["seconds"], 2) for name, run in runs.items()},
        "runs": runs,
    }
    write("gpu", body)
    print(f"\n{body['card']}: times sooner {body['times_sooner']}")
    return 0 if body["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
