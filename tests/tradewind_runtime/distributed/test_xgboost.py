"""A training on several workers: the model of one, and one clear error, within seconds, where one of them is gone."""

import os
import re
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

pytestmark = pytest.mark.server
SPEC = {"workers": 3, "framework": "xgboost"}
BOOST = """
def train(ctx):
    assert ctx.workers == {workers}
    params = {{"objective": "binary:logistic", "eval_metric": ["logloss", "auc"], "max_depth": 4, **ctx.params}}
    rounds = int(params.pop("rounds", 40))
    return ctx.boost(params, rounds, 8)
"""
#: Marks each round of each rank. Rank 1 does not go on from the sixth without `go`, once all have come so far.
SLOW = """
import os, pathlib, time
import xgboost

class Mark(xgboost.callback.TrainingCallback):
    def __init__(self, ctx):
        self.ctx, self.folder = ctx, pathlib.Path(ctx.params["folder"])

def train(ctx):
    folder = pathlib.Path(ctx.params["folder"])
    report = ctx.report_model
    def marked(step, model, metrics):
        (folder / f"{ctx.rank}-{step}-{os.getpid()}").touch()
        while step == 5 and not (folder / "go").exists():
            time.sleep(0.02)
        report(step, model, metrics)
    ctx.report_model = marked
    return ctx.boost({"objective": "binary:logistic", "eval_metric": "auc"}, 12)
"""
FAILS = """
def train(ctx):
    if ctx.rank == 2:
        return helper()
    return ctx.boost({"objective": "binary:logistic"}, 500)

def helper():
    return {}["nothing"]
"""
#: Rank 0 is where no exception reaches it, as in a collective that nobody answers.
STUCK = """
import time

def train(ctx):
    if ctx.rank == 0:
        time.sleep(120)
    raise OSError("the disk went")
"""
OWN = """
def train(ctx):
    if ctx.rank == 0:
        raise ValueError("of my own")
    return ctx.boost({"objective": "binary:logistic"}, 500)
"""


@pytest.fixture
def lake(tmp_path):
    root = tmp_path / "a lake"
    return root, store(root, rows())


def body(lake, text, workers=3, table=None, **params):
    root, ref = lake
    config = train_config(function="mine:train", params=params)
    if workers > 1:
        config["train"]["distributed"] = SPEC | {"workers": workers}
    code = archive(root, mine=text.format(workers=workers) if "{workers}" in text else text)
    inputs = {"features": table or ref}
    return request(root, "train", config, inputs=inputs, code=code, settings={"threads": 1, "checkpoint_seconds": 0})


def answers(lake, result, table=None):
    found = predictor(artefacts.load(Documents(lake[0].as_uri()), result.outputs["model"].digest))
    return found.predict(matrix(table or rows(), ("a", "b", "noise", "flag")))


def test_three_workers_learn_what_one_does(lake):
    one, three = execute(body(lake, BOOST, 1)), execute(body(lake, BOOST, 3))
    assert one.fingerprint != three.fingerprint
    assert three.metrics["rows_train"] == one.metrics["rows_train"] == 1000, "of all workers"
    for name in ("valid_roc_auc", "valid_log_loss", "valid_accuracy"):
        assert three.metrics[name] == pytest.approx(one.metrics[name], abs=0.02), name
    assert np.mean(np.abs(answers(lake, one) - answers(lake, three))) < 0.03
    assert list(Documents(lake[0].as_uri()).names("runs")) == [], "the post is gone, with its key"
    again = execute(body(lake, BOOST, 3).model_copy(update={"refresh": "r2"}))
    assert again.outputs == three.outputs, "the same workers, the same bits"


def test_it_is_the_very_same_model_where_no_number_is_rounded(lake):
    """Few values in each column make the same bins anywhere, and the first tree's gradients are halves."""
    table = rows()
    for name in ("a", "b", "noise"):
        values = np.round(np.nan_to_num(table[name].to_numpy(zero_copy_only=False)))
        table = table.set_column(table.schema.get_field_index(name), name, [values])
    ref = store(lake[0], table, "p/rounded")
    params = {"rounds": 1, "base_score": 0.5, "max_depth": 6}
    one, three = (execute(body(lake, BOOST, count, table=ref, **params)) for count in (1, 3))
    assert np.array_equal(answers(lake, one, table), answers(lake, three, table))


def test_an_estimator_needs_no_function(lake):
    root, ref = lake
    config = train_config(params={"n_estimators": 20, "early_stopping_rounds": 5}, distributed=SPEC)
    result = execute(request(root, "train", config, inputs={"features": ref}))
    alone = execute(request(root, "train", train_config(params=config["train"]["params"]), inputs={"features": ref}))
    assert result.metrics["valid_roc_auc"] == pytest.approx(alone.metrics["valid_roc_auc"], abs=0.02)


@pytest.mark.parametrize(
    ("text", "said", "place"),
    [
        (FAILS, "TW549.*rank 2 of 3 workers failed: mine:train failed: KeyError: 'nothing'", "include/models/mine.py"),
        (
            STUCK,
            "TW549.*rank [12] of 3 workers failed: mine:train failed: OSError: the disk went",
            "include/models/mine.py",
        ),
        (OWN, "TW550.*mine:train failed: ValueError: of my own", "include/models/mine.py"),
    ],
)
def test_a_workers_own_error_is_told_with_its_place(lake, text, said, place):
    began = time.monotonic()
    launch = Launch(body(lake, text), Documents(lake[0].as_uri()), sys.executable, on_line=print)
    with pytest.raises(StepError, match=said) as caught:
        launch.run()
    assert caught.value.problems[0].file == place
    assert caught.value.retryable is (text == STUCK)
    assert time.monotonic() - began < 60
    assert not companions_of(lake)


def test_a_killed_worker_is_told_within_seconds_and_the_retry_goes_on(lake, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    wanted = body(lake, SLOW, folder=str(marks))
    documents = Documents(lake[0].as_uri())
    lines = []
    launch = Launch(wanted, documents, sys.executable, on_line=lines.append)
    killed = []

    def kill():
        pid = pid_of(marks, rank=1, step=5)
        os.kill(pid, signal.SIGKILL)
        killed.append(time.monotonic())
        (marks / "go").touch()  # the others go on into the next round, and wait there for the one that is gone

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StepError, match=r"TW549.*rank 1 of 3 workers was lost: it was killed by SIGKILL") as caught:
        launch.run()
    killer.join()
    print(f"told after {time.monotonic() - killed[0]:.1f} s")
    assert time.monotonic() - killed[0] < 15
    assert caught.value.retryable
    assert not companions_of(lake)
    result = Launch(wanted, documents, sys.executable, on_line=lines.append).run()
    steps = re.findall(r"going on from the checkpoint after step (\d+)", "\n".join(lines))
    assert len(steps) == 3, "all workers go on, from the same state"
    assert steps[0] == steps[1] == steps[2] >= "5"
    assert len(list(marks.glob("0-2-*"))) == 1, "rank 0 has not begun anew"
    whole = execute(body(lake, SLOW, folder=str(marks)).model_copy(update={"refresh": "whole"}))
    assert whole.outputs == result.outputs, "as if nobody had been killed"


def test_workers_end_with_the_step(lake, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    launch = Launch(body(lake, SLOW, folder=str(marks)), Documents(lake[0].as_uri()), sys.executable, on_line=print)

    def kill():
        for rank in (1, 2):
            pid_of(marks, rank=rank, step=5)
        os.kill(pid_of(marks, rank=0, step=5), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StepError, match=r"TW590.*SIGKILL"):
        launch.run()
    killer.join()
    assert not companions_of(lake)


def pid_of(marks: Path, *, rank: int, step: int) -> int:
    until = time.monotonic() + 90
    while not (found := list(marks.glob(f"{rank}-{step}-*"))):
        assert time.monotonic() < until, f"rank {rank} did not come to step {step}"
        time.sleep(0.02)
    return int(found[0].name.rpartition("-")[2])


def companions_of(lake) -> list[str]:
    """Processes that are there, after the moment that they may take to go."""
    time.sleep(0.5)
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode()
        except OSError:
            continue
        if "tradewind_runtime.companion" in words and lake[0].as_uri() in words:
            found.append(words)
    return found
