"""A sweep: deterministic by its seed, gone on with after kill -9, each trial exactly once."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config
from tests.tradewind_runtime.steprun import start

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.contract.train import TrainConfig, Tune
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute
from tradewind_runtime.sweeps import Sweep, Trial
from tradewind_runtime.tuners import tuner
from tradewind_runtime.tuners.hyperopt import BY_CHANCE

TRIALS = 8
SPACE = {
    "max_depth": {"int": [2, 6]},
    "eta": {"log": [0.01, 0.5]},
    "subsample": {"float": [0.5, 1.0]},
    "grow_policy": {"choice": ["depthwise", "lossguide"]},
}
SLOW = """
import os, pathlib, time
import xgboost

def train(ctx):
    mark = pathlib.Path(ctx.params.pop("folder")) / f"{time.monotonic_ns()}-{os.getpid()}-{os.getppid()}"
    mark.touch()
    time.sleep(0.25)
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


def spec(**more):
    return {"hyperopt": {"trials": TRIALS, "parallel": 2, "space": SPACE} | more}


def sweep_request(root: Path, **config):
    return request(root, "tune", config, inputs={"features": store(root, rows(600))})


def scores(result: StepResult):
    return [(trial["params"], trial["score"]) for trial in result.facts["trials"]]


def test_proposals_depend_on_the_seed_and_on_what_was_told():
    def ask(count, seed=7, scale=1.0, algorithm="tpe"):
        source = tuner(Tune.model_validate(spec(seed=seed, algorithm=algorithm)))
        found = []
        for index in range(count):
            found.append(source.ask(index))
            source.tell(index, found[-1], None if index == 3 else scale * found[-1]["eta"])
        return found

    first = ask(30)
    assert first == json.loads(json.dumps(first)) == ask(30)
    assert ask(30, seed=8) != first
    other = ask(30, scale=-1.0)
    assert other[:BY_CHANCE] == first[:BY_CHANCE]
    assert other[BY_CHANCE:] != first[BY_CHANCE:]
    for params in first:
        assert 2 <= params["max_depth"] <= 6
        assert isinstance(params["max_depth"], int)
        assert 0.01 <= params["eta"] <= 0.5
        assert params["grow_policy"] in SPACE["grow_policy"]["choice"]
    high, low = (sum(params["eta"] for params in ask(50, scale=scale)[25:]) for scale in (1.0, -1.0))
    assert high > 1.5 * low, "it looks where it was good"
    assert ask(5, algorithm="random") != ask(5, algorithm="anneal", seed=9)


def test_a_proposal_does_not_depend_on_which_trial_is_quicker(tmp_path):
    config = train_config() | {"tune": spec(trials=12)}
    body = request(tmp_path / "lake", "tune", config)

    def run(order, root):
        documents = Documents(root.as_uri())
        sweep = Sweep(body, TrainConfig.model_validate(config), documents, tuner(Tune.model_validate(spec(trials=12))))
        running, asked = {}, {}
        while len(sweep.over) < 12:
            running |= dict(sweep.ready())
            index = order(sorted(running))
            asked[index] = running.pop(index).config["trial_params"]
            sweep.over[index] = Trial(index, asked[index], asked[index]["eta"])
        return asked

    assert run(min, tmp_path / "a") == run(max, tmp_path / "b")


def test_a_sweep_finds_the_best_and_is_adopted(tmp_path):
    root = tmp_path / "a lake"
    body = sweep_request(root, **train_config(params={"n_estimators": 5}), tune=spec(train_rows=200))
    result = execute(body)
    found = scores(result)
    assert len(found) == result.metrics["trials"] == TRIALS
    best = result.outputs["best"].value
    assert best["score"] == max(score for _, score in found) == result.metrics["best_score"]
    assert best["params"] == next(params for params, score in found if score == best["score"])
    assert best["trials"] == TRIALS
    assert execute(body.model_copy(update={"run_id": "r2"})) == result
    trials = set(Documents(root.as_uri()).names("results/trial"))
    longer = execute(body.model_copy(update={"config": body.config | {"tune": spec(train_rows=200, trials=10)}}))
    assert scores(longer)[:TRIALS] == found, "a longer sweep takes the trials over"
    assert len(set(Documents(root.as_uri()).names("results/trial")) - trials) == 2


def marks(folder: Path):
    return sorted(folder.iterdir())


def slow(tmp_path: Path, name: str):
    root, folder = tmp_path / name, tmp_path / f"{name} marks"
    folder.mkdir()
    ref = store(root, rows(300))
    body = train_config(function="slow:train", params={"folder": str(folder)}) | {"tune": spec()}
    return request(root, "tune", body, inputs={"features": ref}, code=archive(root, slow=SLOW)), folder


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.server
def test_a_killed_sweep_goes_on_and_loses_no_trial(tmp_path):
    body, folder = slow(tmp_path, "killed")
    documents = Documents(body.lake)
    process = start(body, "first")
    wait_for(lambda: len(list(documents.names("results/trial"))) >= 2)
    victim = int(marks(folder)[-1].name.split("-")[1])  # a worker, in the middle of its trial
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(list(documents.names("results/trial"))) >= 4)
    process.kill()
    process.wait()
    workers = {int(mark.name.split("-")[1]) for mark in marks(folder)}
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 10)
    kept = {path: documents.get(path) for path in documents.names("results/trial")}
    asked = {path: documents.get(path) for path in documents.names("sweeps")}
    assert 4 <= len(kept) < TRIALS
    begun = len(marks(folder))
    result = execute(body)
    assert len(marks(folder)) - begun == TRIALS - len(kept), "what was done is not done again"
    assert {path: documents.get(path) for path in kept} == kept
    assert {path: documents.get(path) for path in asked} == asked
    assert len(list(documents.names("results/trial"))) == TRIALS == result.metrics["trials"]
    whole, _ = slow(tmp_path, "whole")
    assert scores(result) == scores(execute(whole)), "as if nobody had killed it"


def test_failed_trials_are_counted_and_too_many_of_them_are_told(tmp_path):
    root = tmp_path / "lake"
    ref = store(root, rows(300))
    code = archive(root, bad=BAD)

    def body(**more):
        config = train_config(function="bad:train") | {"tune": spec(trials=6, **more)}
        return request(root, "tune", config, inputs={"features": ref}, code=code)

    with pytest.raises(StepError, match="TW559") as caught:
        execute(body(max_failures=0))
    assert not caught.value.retryable
    assert "include/models/bad.py:9" in str(caught.value)
    assert "KeyError: 'depth'" in str(caught.value)
    assert not [path for path in Documents(root.as_uri()).names("sweeps") if "failed" in path]
    result = execute(body(max_failures=5))
    assert 0 < result.metrics["failed"] <= 5
    assert [t["score"] is None for t in result.facts["trials"]] == [
        t["params"]["max_depth"] > 3 for t in result.facts["trials"]
    ]
    assert result.outputs["best"].value["params"]["max_depth"] <= 3
