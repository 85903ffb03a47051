"""PyTorch on several workers: the same steps as one worker with all rows, by gloo; and a lost one is told."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config

from tradewind_runtime import artefacts
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute
from tradewind_runtime.frameworks import predictor
from tradewind_runtime.launchers.process import Launch
from tradewind_runtime.training import matrix

#: Whole batches: the mean of the workers' gradients is the gradient of all rows, where all have as many.
MODEL = """
import pathlib, os, time
import torch
from torch import nn
from tradewind_runtime.frameworks.pytorch import dumps, loads

class Filled(nn.Module):
    def forward(self, x):
        return torch.nan_to_num(x)

def train(ctx):
    torch.manual_seed(ctx.seed)
    x, y = (torch.tensor(part, dtype=torch.float32) for part in ctx.train.numpy())
    body = nn.Sequential(Filled(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
    optimizer, loss, done = torch.optim.Adam(body.parameters(), lr=0.02), nn.BCELoss(), 0
    if latest := ctx.checkpoints.latest():
        done, state = latest[0], loads(latest[1])
        body.load_state_dict(state["body"])
        optimizer.load_state_dict(state["optimizer"])
    whole = body
    if ctx.workers > 1:
        import torch.distributed as dist
        assert (dist.get_rank(), dist.get_world_size()) == (ctx.rank, ctx.workers) == (int(os.environ["RANK"]), 2)
        whole = nn.parallel.DistributedDataParallel(body)
    folder = ctx.params.get("folder")
    for epoch in range(done, 40):
        if folder and epoch == 5:
            (pathlib.Path(folder) / f"{ctx.rank}-{os.getpid()}").touch()
            while not (pathlib.Path(folder) / "go").exists():
                time.sleep(0.02)
        optimizer.zero_grad()
        loss(whole(x)[:, 0], y).backward()
        optimizer.step()
        ctx.report(epoch, loss=loss(body(x)[:, 0], y).item())
        ctx.checkpoints.offer(
            epoch + 1, lambda: dumps({"body": body.state_dict(), "optimizer": optimizer.state_dict()}))
    return body
"""


@pytest.fixture
def lake(tmp_path):
    root = tmp_path / "a lake"
    return root, store(root, rows())


def body(lake, workers, **params):
    root, ref = lake
    config = train_config(function="mine:train", params=params)
    if workers > 1:
        config["train"]["distributed"] = {"workers": workers, "framework": "torch"}
    settings = {"threads": 1, "checkpoint_seconds": 0}
    return request(root, "train", config, inputs={"features": ref}, code=archive(root, mine=MODEL), settings=settings)


def answers(lake, result):
    found = predictor(artefacts.load(Documents(lake[0].as_uri()), result.outputs["model"].digest))
    return found.predict(matrix(rows(), ("a", "b", "noise", "flag")))


def test_two_workers_take_the_steps_of_one(lake):
    one, two = execute(body(lake, 1)), execute(body(lake, 2))
    assert two.metrics["rows_train"] == 1000
    np.testing.assert_allclose(answers(lake, one), answers(lake, two), atol=1e-3)
    assert two.metrics["valid_roc_auc"] == pytest.approx(one.metrics["valid_roc_auc"], abs=0.002)


def test_a_killed_worker_is_told_and_the_retry_goes_on(lake, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    wanted, documents, lines, killed = body(lake, 2, folder=str(marks)), Documents(lake[0].as_uri()), [], []

    def kill():
        while not (found := list(marks.glob("1-*"))) or not list(marks.glob("0-*")):
            time.sleep(0.02)
        os.kill(int(Path(found[0]).name.partition("-")[2]), signal.SIGKILL)
        killed.append(time.monotonic())
        (marks / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StepError, match=r"TW549.*rank 1 of 2 workers was lost: it was killed by SIGKILL"):
        Launch(wanted, documents, sys.executable, on_line=lines.append).run()
    killer.join()
    assert time.monotonic() - killed[0] < 15
    result = Launch(wanted, documents, sys.executable, on_line=lines.append).run()
    assert any("going on from the checkpoint after step 5" in line for line in lines)
    whole = execute(wanted.model_copy(update={"refresh": "whole"}))
    assert whole.outputs == result.outputs, "as if nobody had been killed"
