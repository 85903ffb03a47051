"""PyTorch by gloo on four pods of the image with it: the model of one pod, also where one of the four was killed.

The image has CUDA's libraries, as PyTorch's package wants them, so its nodes need some 10 GB for it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.cluster.companions import Place, opened
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.images import Image
from tests.tradewind_runtime.learnable import rows

from tradewind_runtime import artefacts
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.contract.resources import Resources
from tradewind_runtime.frameworks import predictor
from tradewind_runtime.training import matrix

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]
WORKERS, EPOCHS = 4, 30
#: Of 1,000 rows each of four has 250, and the mean of their gradients is that of all rows.
MODEL = """
import time
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
    whole, folder = body, f"{ctx.workers}-{ctx.params['pause']}"
    if ctx.workers > 1:
        assert torch.distributed.get_backend() == "gloo"
        assert torch.distributed.get_world_size() == ctx.workers
        whole = nn.parallel.DistributedDataParallel(body)
    for epoch in range(done, 30):
        time.sleep(ctx.params["pause"])
        ctx.checkpoints.documents.put(f"epochs/{folder}/{ctx.rank}-{epoch:04d}-{time.time_ns()}", b"")
        optimizer.zero_grad()
        loss(whole(x)[:, 0], y).backward()
        optimizer.step()
        ctx.report(epoch, loss=loss(body(x)[:, 0], y).item())
        ctx.checkpoints.offer(
            epoch + 1, lambda: dumps({"body": body.state_dict(), "optimizer": optimizer.state_dict()}))
    return body
"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, built: Callable[[str], Image], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """With the image that has PyTorch."""
    resources = Resources(cpu=0.4, memory="1500Mi")
    with opened(cluster, built("steps-torch").name, tmp_path_factory.mktemp("torch"), resources) as found:
        yield found


@pytest.fixture(scope="module")
def features(place: Place) -> DatasetRef:
    """1,500 rows, of which 1,000 are learnt from."""
    return place.table(rows())


@pytest.fixture(scope="module")
def alone(place: Place, features: DatasetRef) -> StepResult:
    """One pod's."""
    wanted = training(place, features, workers=1)
    place.ended(place.start(wanted), seconds=900)  # the image comes to a node
    return place.result(wanted)


def training(place: Place, features: DatasetRef, *, workers: int = WORKERS, pause: float = 0) -> StepRequest:
    """On so many workers; with a pause another training, of the same model."""
    train: dict[str, Any] = {"params": {"pause": pause}, "seed": 7}
    if workers > 1:
        train["distributed"] = {"workers": workers, "framework": "torch"}
    return place.request("train", features, "mine:train", {"train": train}, mine=MODEL)


def same(place: Place, one: StepResult, other: StepResult) -> None:
    """As models: what they answer, and how they score."""
    x = matrix(rows(), ("a", "b", "noise", "flag"))
    answers = [
        predictor(artefacts.load(place.lake.documents, result.outputs["model"].digest)).predict(x)
        for result in (one, other)
    ]
    np.testing.assert_allclose(*answers, atol=1e-3)
    assert one.metrics["valid_roc_auc"] == pytest.approx(other.metrics["valid_roc_auc"], abs=0.002)


def begun(place: Place, pause: float) -> dict[int, list[int]]:
    """Epochs that each of the ranks has begun, in order."""
    found: dict[int, list[tuple[int, int]]] = {rank: [] for rank in range(WORKERS)}
    for path in place.lake.documents.names(f"epochs/{WORKERS}-{pause}"):
        rank, epoch, at = map(int, path.rpartition("/")[2].split("-"))
        found[rank].append((at, epoch))
    return {rank: [epoch for _, epoch in sorted(marks)] for rank, marks in found.items()}


def test_four_pods_learn_what_one_does(place: Place, features: DatasetRef, alone: StepResult) -> None:
    wanted = training(place, features)
    place.ended(place.start(wanted), seconds=900)
    four = place.result(wanted)
    assert four.metrics["rows_train"] == alone.metrics["rows_train"] == 1000, "of all workers"
    same(place, alone, four)
    assert begun(place, 0) == {rank: list(range(EPOCHS)) for rank in range(WORKERS)}
    print(f"nothing left after {place.nothing_left():.1f} s")


def test_a_killed_worker_is_told_and_the_retry_goes_on(place: Place, features: DatasetRef, alone: StepResult) -> None:
    wanted = training(place, features, pause=0.5)
    name = place.start(wanted)
    kept = f"checkpoints/{wanted.fingerprint}"
    place.cluster.until(lambda: place.step_of(kept) >= 5, "some epochs", seconds=240)
    killed = time.monotonic()
    place.kubectl("delete", "pod", place.companions()[0], "--now", "--wait=false")
    place.ended(name)
    print(f"given up {time.monotonic() - killed:.1f} s after the kill\n{place.error(wanted)}")
    assert re.match(r"TW549: rank [123] of 4 workers was lost: it ", str(place.error(wanted)))
    assert place.error(wanted).retryable
    place.nothing_left()
    place.ended(place.start(wanted, attempt=2))
    same(place, alone, place.result(wanted))
    for rank, epochs in begun(place, 0.5).items():
        assert epochs.count(0) == 1, f"rank {rank} begins anew"
        assert sorted(set(epochs)) == list(range(EPOCHS))
    place.nothing_left()
