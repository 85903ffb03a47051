"""What the model server adds to a request: p50 and p95 beside a bare FastAPI route that calls the same model.

    python -m bench.serving [--requests 1000]

One client, one connection, requests one after another, in turns, so that noise of the machine meets both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import xgboost

from bench.results import write

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-serving" / "bin" / "python"
FEATURES = tuple(f"f{n}" for n in range(12))
BARE = """
import sys, socket, fastapi, numpy, uvicorn, xgboost
model = xgboost.Booster({"nthread": 1}); model.load_model(sys.argv[1])
app = fastapi.FastAPI()
@app.post("/infer")
async def infer(request: fastapi.Request):
    body = await request.json()
    x = numpy.array([tensor["data"] for tensor in body["inputs"]]).T
    return {"outputs": model.inplace_predict(x, validate_features=False).tolist()}
sock = socket.create_server(("127.0.0.1", 0)); sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print(sock.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[sock])
"""


def quantiles(seconds: list[float]) -> dict[str, float]:
    """In milliseconds."""
    cut = statistics.quantiles(seconds, n=100)
    return {"p50_ms": round(cut[49] * 1000, 3), "p95_ms": round(cut[94] * 1000, 3)}


def main() -> None:
    """Start both, warm both, take turns."""
    from tests.servers.model_server import model_server, request

    from tradewind_runtime import artefacts, frameworks
    from tradewind_runtime.documents import Documents
    from tradewind_runtime.endpoints import moves

    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, len(FEATURES)))
    data = xgboost.DMatrix(x, label=(x[:, 0] > 0).astype(float), feature_names=list(FEATURES))
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 6, "nthread": 1}, data, 100)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lake, files = root / "lake", root / "files"
        lake.mkdir()
        files.mkdir()
        documents, framework = Documents(lake.as_uri()), frameworks.framework_of(booster)
        framework.save(booster, files, x)
        fields = {"framework": framework.NAME, "task": "binary", "label": "y", "features": FEATURES}
        ref = artefacts.save(documents, files, fields)
        moves.promote(documents, "bench", ref.digest, expected=0, by="bench", reason="bench")
        command = [str(PYTHON), "-c", BARE, str(next(files.iterdir()))]
        bare = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            assert bare.stdout is not None
            port = int(bare.stdout.readline())
            with model_server(lake, root / "log", "--segment", "5") as server, httpx.Client(trust_env=False) as client:
                urls = {
                    "tradewind": f"{server.address}/v2/models/bench/infer",
                    "fastapi": f"http://127.0.0.1:{port}/infer",
                }
                body = request({name: [float(value)] for name, value in zip(FEATURES, x[0], strict=True)})
                taken: dict[str, list[float]] = {name: [] for name in urls}
                for turn in range(options.requests + 100):
                    for name, url in urls.items():
                        started = time.perf_counter()
                        client.post(url, json=body).raise_for_status()
                        if turn >= 100:
                            taken[name].append(time.perf_counter() - started)
        finally:
            bare.kill()
            bare.wait()
    found: dict[str, Any] = {name: quantiles(seconds) for name, seconds in taken.items()}
    print(json.dumps(found, indent=1))
    write("serving", {"ok": True, "requests": options.requests, "results": found, "raw_seconds": taken})


if __name__ == "__main__":
    main()
