"""Trials on Spark: on a real standalone cluster that loses an executor in the middle; and where they may not be."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pyspark
import pytest
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config
from tests.tradewind_runtime.steprun import start, wait_for

from tradewind.dev import ports
from tradewind_runtime import java
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


@contextmanager
def process(folder: Path, kind: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A master or a worker of Spark's, and all that it has started, gone afterwards."""
    home = Path(pyspark.__file__).parent
    told = os.environ | {"JAVA_HOME": str(java.find(None).home), "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [str(home / "bin/spark-class"), f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1", *words]
    with (folder / f"{kind}.log").open("ab") as log:
        made = subprocess.Popen(command, stdout=log, stderr=log, env=told, cwd=folder)
    try:
        yield made
    finally:
        for one in [*psutil.Process(made.pid).children(recursive=True), psutil.Process(made.pid)]:
            one.kill()
        made.wait()


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[str]:
    """A master and two workers of one core each; the master's address."""
    port = ports.choose({"master": None})["master"]
    with ExitStack() as stack:
        stack.enter_context(process(tmp_path, "master.Master", "--port", str(port), "--webui-port", "0"))
        until = time.monotonic() + 60
        while not ports.answers(port):
            assert time.monotonic() < until
            time.sleep(0.1)
        for number in range(2):
            folder = tmp_path / f"worker {number}"
            folder.mkdir()
            given = ("--cores", "1", "--memory", "600m", "--webui-port", "0", "--work-dir", str(folder / "work"))
            stack.enter_context(process(folder, "worker.Worker", *given, f"spark://127.0.0.1:{port}"))
        yield f"spark://127.0.0.1:{port}"


@pytest.mark.server
def test_a_lost_executor_costs_no_trial(standalone: str, tmp_path: Path) -> None:
    root, folder = tmp_path / "a lake", tmp_path / "marks"
    folder.mkdir()
    space = {"eta": {"float": [0.1, 0.9]}}
    tune = {"hyperopt": {"trials": TRIALS, "parallel": 2, "space": space}, "workers": "spark"}
    config = train_config(function="mine:train", params={"folder": str(folder)}) | {"tune": tune}
    spark = {"master": standalone, "driver_memory": "512m", "options": {
        "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.executor.memory": "512m",
    }}  # fmt: skip
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
    begun = [int(one.name.split("-")[1]) for one in folder.iterdir()]
    assert len(begun) <= TRIALS + 1, "only the one that was under way there is done again"
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in begun), 15)


def executor_of(mark: Path) -> psutil.Process:
    """The JVM below which a trial's process runs."""
    trial = psutil.Process(int(mark.name.split("-")[1]))
    return next(one for one in trial.parents() if "CoarseGrainedExecutorBackend" in " ".join(one.cmdline()))


def test_executors_that_are_pods_are_refused_before_any_trial(tmp_path: Path) -> None:
    root = tmp_path / "lake"
    tune = {"hyperopt": {"trials": 2, "space": {"eta": {"float": [0.1, 0.9]}}}, "workers": "spark"}
    body = request(
        root, "tune", train_config() | {"tune": tune}, inputs={"features": store(root, rows(300))},
        settings={"spark": {"master": "k8s://"}},
    )  # fmt: skip
    with pytest.raises(StepError, match=r"TW546(.|\n)*workers: pods") as caught:
        execute(body)
    assert not caught.value.retryable
