"""Trials on Ray, its own or one that is there: a lost worker costs none of them, a killed step leaves nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config
from tests.tradewind_runtime.steprun import start, wait_for

from tradewind.dev import ports
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute

TRIALS = 8
MODEL = """
import os, pathlib, time
import xgboost

def train(ctx):
    (pathlib.Path(ctx.params.pop("folder")) / f"{time.monotonic_ns()}-{os.getpid()}").touch()
    time.sleep(0.5)
    params = {"objective": "binary:logistic", "nthread": 1, "seed": 1} | ctx.params
    return xgboost.train(params, ctx.train.dmatrix(), 5)
"""

HEAD = """
from tradewind_runtime.distributed.ray import stay_here
stay_here()
from ray.scripts.scripts import main
main()
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A Ray that is there already, of two cores, and asks for a token."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-token-of-the-test-and-long-enough-for-ray")
    port = ports.choose({"gcs": None})["gcs"]
    words = ["start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2",
             "--include-dashboard=false", "--disable-usage-stats", "--temp-dir=/tmp/ray-of-test"]  # fmt: skip
    head = subprocess.Popen([sys.executable, "-c", HEAD, *words], start_new_session=True)
    until = time.monotonic() + 90
    while not ports.answers(port):
        assert time.monotonic() < until
        time.sleep(0.2)
    yield f"127.0.0.1:{port}"
    for one in [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    head.wait()


def sweep(tmp_path, name, workers="ray", **ray):
    root, folder = tmp_path / name, tmp_path / f"{name} marks"
    folder.mkdir()
    tune = {"hyperopt": {"trials": TRIALS, "parallel": 2, "space": {"eta": {"float": [0.1, 0.9]}}}, "workers": workers}
    config = train_config(function="mine:train", params={"folder": str(folder)}) | {"tune": tune}
    body = request(
        root, "tune", config, inputs={"features": store(root, rows(300))}, code=archive(root, mine=MODEL),
        settings={"ray": ray},
    )  # fmt: skip
    return body, folder


def alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pids(folder):
    return [int(mark.name.split("-")[1]) for mark in sorted(folder.iterdir())]


def test_a_killed_worker_and_a_killed_step_cost_no_trial(tmp_path):
    body, folder = sweep(tmp_path, "killed")
    documents = Documents(body.lake)
    step = start(body, "first")
    wait_for(lambda: len(list(documents.names("results/trial"))) >= 2)
    below = psutil.Process(step.pid).children(recursive=True)
    os.kill(pids(folder)[-1], signal.SIGKILL)
    wait_for(lambda: len(list(documents.names("results/trial"))) >= 4)
    step.kill()
    step.wait()
    wait_for(lambda: not any(map(alive, below)), 120)  # two agents of Ray look for their node once a minute
    kept = len(list(documents.names("results/trial")))
    begun = len(pids(folder))
    again = start(body, "second")
    assert again.wait(200) == 0
    result = documents.get_model(body.result_path, StepResult)
    assert result is not None
    assert len(pids(folder)) - begun == TRIALS - kept, "what was done is not done again"
    whole, _ = sweep(tmp_path, "whole", workers="processes")
    assert found(result) == found(execute(whole)), "as if nobody had killed it"


def found(result):
    return [(trial["params"]["eta"], trial["score"]) for trial in result.facts["trials"]]


def test_a_ray_that_is_there_runs_them_and_stays(cluster, tmp_path):
    body, folder = sweep(tmp_path, "joined", address=cluster)
    step = start(body, "first")
    assert step.wait(200) == 0
    result = Documents(body.lake).get_model(body.result_path, StepResult)
    assert result is not None
    assert result.metrics["trials"] == TRIALS == len(pids(folder))
    assert ports.answers(int(cluster.partition(":")[2]))
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids(folder)), 15)
