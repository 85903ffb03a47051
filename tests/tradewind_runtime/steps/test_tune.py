"""A sweep: deterministic by its seed, gone on with after kill -9, each trial exactly once."""

import os
import random
import signal
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config
from tests.tradewind_runtime.steprun import start, wait_for

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.contract.sweep import Rung
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute

TRIALS = 10
SPACE = {
    "max_depth": {"int": [2, 6]},
    "eta": {"log": [0.01, 0.5]},
    "subsample": {"float": [0.5, 1.0]},
    "grow_policy": {"choice": ["depthwise", "lossguide"]},
}
PRUNED = {"prune": {"median": {"warmup": 1, "interval": 2, "trials": 2}}}
SLOW = """
import os, pathlib, time
import xgboost

def train(ctx):
    mark = pathlib.Path(ctx.params.pop("folder")) / f"{time.monotonic_ns()}-{os.getpid()}-{os.getppid()}"
    mark.touch()
    for step in range(5):
        time.sleep(0.05)
        ctx.report(step, roc_auc=ctx.params["eta"])
    return xgboost.train({"objective": "binary:logistic", "nthread": 1, "seed": 1} | ctx.params,
                         ctx.train.dmatrix(), 5)
"""
BAD = """
def train(ctx):
    if ctx.params["max_depth"] > 3:
        return helper(ctx)
    import xgboost
    return xgboost.XGBClassifier(n_estimators=3).fit(*ctx.train.numpy())

def helper(ctx):
    return {}["depth"]
"""


def spec(tuner="hyperopt", workers=None, **more):
    return {tuner: {"trials": TRIALS, "parallel": 2, "space": SPACE} | more, "workers": workers}


def sweep_request(root: Path, **config):
    return request(root, "tune", config, inputs={"features": store(root, rows(600))})


def scores(result: StepResult):
    return [(trial["params"], trial["score"]) for trial in result.facts["trials"]]


@pytest.mark.parametrize("tuner", ["hyperopt", "optuna"])
def test_a_sweep_finds_the_best_and_is_adopted(tmp_path, tuner):
    root = tmp_path / "a lake"
    body = sweep_request(root, **train_config(params={"n_estimators": 5}), tune=spec(tuner, train_rows=200))
    result = execute(body)
    found = scores(result)
    assert len(found) == result.metrics["trials"] == TRIALS
    best = result.outputs["best"].value
    assert best["score"] == max(score for _, score in found) == result.metrics["best_score"]
    assert best["params"] == next(params for params, score in found if score == best["score"])
    assert best["trials"] == TRIALS
    assert result.facts["ended_by"] == "trials"
    assert execute(body.model_copy(update={"run_id": "r2"})) == result
    trials = set(Documents(root.as_uri()).names("results/trial"))
    more = spec(tuner, train_rows=200, trials=TRIALS + 2)
    longer = execute(body.model_copy(update={"config": body.config | {"tune": more}}))
    assert scores(longer)[:TRIALS] == found, "a longer sweep takes the trials over"
    assert len(set(Documents(root.as_uri()).names("results/trial")) - trials) == 2


def marks(folder: Path):
    return sorted(folder.iterdir())


def slow(tmp_path: Path, name: str, tuner: str = "hyperopt", **more):
    root, folder = tmp_path / name, tmp_path / f"{name} marks"
    folder.mkdir()
    ref = store(root, rows(300))
    body = train_config(function="slow:train", params={"folder": str(folder)}) | {"tune": spec(tuner, **more)}
    return request(root, "tune", body, inputs={"features": ref}, code=archive(root, slow=SLOW)), folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The scores of a tuner's sweep that nobody has killed."""

    @cache
    def scores_by(tuner):
        body, _ = slow(tmp_path_factory.mktemp("whole"), "whole", tuner)
        return scores(execute(body))

    return scores_by


@pytest.mark.server
@pytest.mark.parametrize(
    ("tuner", "more"),
    [
        ("hyperopt", {}),
        ("optuna", {}),
        ("optuna", PRUNED),
        ("hyperopt", {"workers": "pods"}),
        ("optuna", PRUNED | {"workers": "pods"}),
        ("hyperopt", {"workers": "spark"}),
    ],
)
def test_killed_at_random_moments_it_goes_on_and_no_trial_is_lost_or_done_twice(tmp_path, undisturbed, tuner, more):
    """First a worker, soon after all of it; then all of it once more."""
    chance = random.Random(tuner)
    body, folder = slow(tmp_path, "killed", tuner, **more)
    documents = Documents(body.lake)

    def written(folder):
        return {path: documents.get(path) for path in documents.names(folder)}

    kept = {}
    for victims in (1, 0):
        begun = len(marks(folder))
        process = start(body, f"attempt-{begun}")
        soon = begun + chance.randint(2, 4)  # trials of this attempt, most of which it finishes
        if victims:
            wait_for(lambda: written("results/trial"))
            os.kill(int(marks(folder)[-1].name.split("-")[1]), signal.SIGKILL)  # a worker, in the middle of its trial
        wait_for(lambda soon=soon, process=process: len(marks(folder)) >= soon or process.poll() is not None)
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.0, 0.3))
        assert process.poll() is None, "or the test says too little"
        process.kill()
        process.wait()
        workers = {int(mark.name.split("-")[1]) for mark in marks(folder)}
        wait_for(lambda workers=workers: not any(Path(f"/proc/{pid}").exists() for pid in workers), 10)
        before, kept = kept, written("results/trial")
        assert before.items() <= kept.items(), "none is lost"
        # Of what an attempt begins it finishes all but those that it, or a worker, is killed in.
        assert len(marks(folder)) - begun - (len(kept) - len(before)) <= 2 + victims, "none is done twice"
    asked, begun = written("sweeps"), len(marks(folder))
    assert len(kept) < TRIALS
    result = execute(body)
    assert len(marks(folder)) - begun == TRIALS - len(kept), "what was done is not done again"
    assert kept.items() <= written("results/trial").items()
    assert asked.items() <= written("sweeps").items()
    assert len(written("results/trial")) == TRIALS == result.metrics["trials"]
    if "prune" in more:
        rungs = [documents.get_model(path, Rung) for path in documents.names("rungs")]
        assert sum(rung.stop is not None for rung in rungs) == result.metrics["pruned"] > 0, "each decision once"
        return
    assert scores(result) == undisturbed(tuner), "as if nobody had killed it, whoever did the trials"


def test_a_budget_of_time_ends_a_sweep_and_the_result_says_so(tmp_path):
    body, folder = slow(tmp_path, "short", "optuna", trials=200, budget={"time": "1s", "cost": 10, "price_per_hour": 3})
    result = execute(body)
    assert result.facts["ended_by"] == "time"
    assert 2 <= result.metrics["trials"] == len(marks(folder)) <= 10
    assert 1 <= result.metrics["seconds"] < 20
    assert result.metrics["cost"] > result.metrics["seconds"] * 3 / 3600, "two trials at a time cost twice"


def test_who_prunes_and_reports_nothing_is_told(tmp_path, caplog):
    tune = spec("optuna", trials=2, metric="brier", direction="minimize", **PRUNED)
    body, _ = slow(tmp_path, "silent")
    with caplog.at_level("WARNING"):
        result = execute(body.model_copy(update={"config": body.config | {"tune": tune}}))
    assert result.metrics["pruned"] == 0
    assert "no trial reported brier" in caplog.text


@pytest.mark.parametrize("tuner", ["hyperopt", "optuna"])
def test_failed_trials_are_counted_and_too_many_of_them_are_told(tmp_path, tuner):
    root = tmp_path / "lake"
    ref = store(root, rows(300))
    code = archive(root, bad=BAD)

    def body(**more):
        config = train_config(function="bad:train") | {"tune": spec(tuner, trials=6, **more)}
        return request(root, "tune", config, inputs={"features": ref}, code=code)

    with pytest.raises(StepError, match="TW559") as caught:
        execute(body(max_failures=0))
    assert not caught.value.retryable
    assert f"tune.{tuner}.max_failures" in str(caught.value)
    assert "include/models/bad.py:9" in str(caught.value)
    assert "KeyError: 'depth'" in str(caught.value)
    assert not [path for path in Documents(root.as_uri()).names("sweeps") if "failed" in path]
    result = execute(body(max_failures=5))
    assert 0 < result.metrics["failed"] <= 5
    assert [t["score"] is None for t in result.facts["trials"]] == [
        t["params"]["max_depth"] > 3 for t in result.facts["trials"]
    ]
    assert result.outputs["best"].value["params"]["max_depth"] <= 3


def test_trials_in_companions_fail_and_prune_as_elsewhere(tmp_path):
    root = tmp_path / "lake"
    config = train_config(function="bad:train") | {"tune": spec(trials=6, max_failures=5, workers="pods")}
    body = request(root, "tune", config, inputs={"features": store(root, rows(300))}, code=archive(root, bad=BAD))
    result = execute(body)
    assert 0 < result.metrics["failed"] <= 5
    own = spec(trials=6, max_failures=5)
    assert scores(result) == scores(execute(body.model_copy(update={"config": config | {"tune": own}})))
    assert list(Documents(root.as_uri()).names("runs")) == [], "the post is gone, with its key"
