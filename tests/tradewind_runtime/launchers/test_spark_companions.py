"""Trials on Spark: on a real standalone cluster that loses an executor in the middle; and where they may not be."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from tests.servers.spark_cluster import SparkCluster
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config
from tests.tradewind_runtime.steprun import start, wait_for

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute

TRIALS = 8
#: Each trial says when it begins, and in which process.
MODEL = """
import os, pathlib, time
import xgboost

def train(ctx):
    folder = pathlib.Path(ctx.params.pop("folder"))
    (folder / f"{time.monotonic_ns()}-{os.getpid()}").touch()
    time.sleep(1)
    params = {"objective": "binary:logistic", "nthread": 1, "seed": 1} | ctx.params
    return xgboost.train(params, ctx.train.dmatrix(), 5)
"""


@pytest.mark.server
def test_a_lost_executor_costs_no_trial(spark_cluster: SparkCluster, tmp_path: Path) -> None:
    root, folder = tmp_path / "a lake", tmp_path / "marks"
    folder.mkdir()
    space = {"eta": {"float": [0.1, 0.9]}}
    tune = {"hyperopt": {"trials": TRIALS, "parallel": 2, "space": space}, "workers": "spark"}
    config = train_config(function="mine:train", params={"folder": str(folder)}) | {"tune": tune}
    spark = {
        "master": spark_cluster.address, "driver_memory": "512m", "options": {"spark.executor.memory": "512m"},
    }  # fmt: skip
    body = request(
        root, "tune", config, inputs={"features": store(root, rows(300))}, code=archive(root, mine=MODEL),
        settings={"spark": spark},
    )  # fmt: skip
    documents = Documents(root.as_uri())
    step = start(body, "first")
    wait_for(lambda: len(list(documents.names("results/trial"))) >= 2)
    victim = executor_of(max(folder.iterdir()))
    victim.send_signal(signal.SIGKILL)
    assert step.wait(200) == 0
    result = documents.get_model(body.result_path, StepResult)
    assert result is not None
    assert result.metrics["trials"] == TRIALS == len(list(documents.names("results/trial")))
    assert result.metrics["failed"] == 0
    assert [one["application"][:4] for one in result.facts["spark"]] == ["app-"]
    begun = [int(one.name.split("-")[1]) for one in folder.iterdir()]
    assert len(begun) <= TRIALS + 1, "only the one that was under way there is done again"
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in begun), 15)


@pytest.mark.server
def test_trials_for_which_no_executor_comes_say_so(spark_cluster: SparkCluster, tmp_path: Path) -> None:
    root = tmp_path / "a lake"
    tune = {"hyperopt": {"trials": 2, "space": {"eta": {"float": [0.1, 0.9]}}}, "workers": "spark"}
    spark = {
        "master": spark_cluster.address, "driver_memory": "512m", "pending_timeout": 3,
        "executors": {"max": 1, "memory": "64Gi"},
    }  # fmt: skip
    body = request(
        root, "tune", train_config() | {"tune": tune}, inputs={"features": store(root, rows(300))},
        settings={"spark": spark},
    )  # fmt: skip
    step = start(body, "first")
    said = step.communicate(timeout=120)[1].decode()
    assert "TW546" in said
    assert f"no executor of {spark_cluster.address} came within 3 s" in said


def executor_of(mark: Path) -> psutil.Process:
    """The JVM below which a trial's process runs."""
    trial = psutil.Process(int(mark.name.split("-")[1]))
    return next(one for one in trial.parents() if "CoarseGrainedExecutorBackend" in " ".join(one.cmdline()))


@pytest.mark.parametrize("master", ["k8s://", "sc://localhost"])
def test_a_spark_that_runs_no_trials_is_refused_before_any(tmp_path: Path, master: str) -> None:
    root = tmp_path / "lake"
    tune = {"hyperopt": {"trials": 2, "space": {"eta": {"float": [0.1, 0.9]}}}, "workers": "spark"}
    body = request(
        root, "tune", train_config() | {"tune": tune}, inputs={"features": store(root, rows(300))},
        settings={"spark": {"master": master}},
    )  # fmt: skip
    with pytest.raises(StepError, match=r"TW546(.|\n)*workers: pods") as caught:
        execute(body)
    assert not caught.value.retryable
