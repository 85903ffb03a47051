"""Trials that are stopped early: by which rule, once and for all, and told as what they are."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config

from tradewind_runtime.contract.sweep import Rung
from tradewind_runtime.contract.train import TrainConfig
from tradewind_runtime.contract.tune import Prune, Search
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute
from tradewind_runtime.pruning import Pruned, Pruning, Rungs, folder, steps, why_stop
from tradewind_runtime.trials import newest

ASHA, MEDIAN = {"asha": {"min_steps": 2, "factor": 3}}, {"median": {"warmup": 4, "interval": 5, "trials": 3}}
#: Rounds are counted where they end. Whatever catches what may go wrong must not catch this.
CLIMB = """
import pathlib, uuid
import xgboost

class Count(xgboost.callback.TrainingCallback):
    def __init__(self, folder):
        self.folder = folder
    def after_iteration(self, model, epoch, evals_log):
        (self.folder / uuid.uuid4().hex).touch()
        return False

def train(ctx):
    params = {"objective": "binary:logistic", "nthread": 1, "seed": 1} | ctx.params
    folder = pathlib.Path(params.pop("folder"))
    try:
        return xgboost.train(params, ctx.train.dmatrix(), 27, callbacks=[Count(folder), ctx.xgboost_callback()])
    except Exception:
        return None
"""
OWN = """
def train(ctx):
    for step in range(1, 31):
        ctx.report(step, roc_auc=ctx.params["a"], loss=1.0)
    import xgboost
    return xgboost.XGBClassifier(n_estimators=2).fit(*ctx.train.numpy())
"""


def search(prune: dict[str, Any], **more: Any) -> Search:
    return Search.model_validate({"prune": prune, "space": {"a": {"float": [0, 1]}}} | more)


@pytest.mark.parametrize(("prune", "first"), [(ASHA, [2, 6, 18, 54]), (MEDIAN, [4, 9, 14, 19])])
def test_rungs(prune, first):
    assert list(islice(steps(Prune.model_validate(prune)), 4)) == first


@pytest.mark.parametrize(
    ("prune", "others", "stopped"),
    [
        (MEDIAN, [0.6, 0.7], False),  # too few to say
        (MEDIAN, [0.3, 0.5, 0.9], False),  # the median itself goes on
        (MEDIAN, [0.3, 0.6, 0.9], True),
        (ASHA, [], False),
        (ASHA, [0.4], False),  # the best goes on, as long as there are few
        (ASHA, [0.6], True),
        (ASHA, [0.6, 0.1, 0.1, 0.1], True),
        (ASHA, [0.6, 0.1, 0.1, 0.1, 0.1], False),  # two of six
    ],
)
def test_who_is_stopped(prune, others, stopped):
    assert (why_stop(search(prune), 0.5, others) is not None) == stopped
    less = search(prune, direction="minimize", metric="log_loss")
    assert (why_stop(less, -0.5, [-other for other in others]) is not None) == stopped


def climb(documents: Documents, trial: str, values: dict[int, float], prune: dict[str, Any] = ASHA) -> Pruning:
    found = Pruning(search(prune), Rungs(documents, "rungs/f"), trial)
    for step, value in values.items():
        found.look(step, {"roc_auc": value})
    return found


def test_a_decision_is_made_once(tmp_path):
    documents = Documents(tmp_path.as_uri())
    climb(documents, "low", {2: 0.5, 6: 0.5})
    with pytest.raises(Pruned, match=r"roc_auc 0.4: 1 of 1 are better, 1 may go on"):
        climb(documents, "lower", {1: 0.9, 2: 0.4})
    # An attempt after a kill is stopped where the first was, and by its value; one that went on goes on.
    with pytest.raises(Pruned):
        climb(documents, "lower", {2: 0.9})
    climb(documents, "high", {2: 0.8})
    assert climb(documents, "low", {2: 0.5, 6: 0.5}).stopped is None
    kept = {path: documents.get_model(path, Rung) for path in documents.names("rungs")}
    assert {path: (rung.value, rung.stop is None) for path, rung in kept.items()} == {
        "rungs/f/00000002/high.json": (0.8, True),
        "rungs/f/00000002/low.json": (0.5, True),
        "rungs/f/00000002/lower.json": (0.4, False),
        "rungs/f/00000006/low.json": (0.5, True),
    }


def test_a_trial_that_survives_being_stopped_is_stopped_at_each_report(tmp_path):
    documents = Documents(tmp_path.as_uri())
    climb(documents, "high", {2: 0.8})
    found = climb(documents, "low", {})
    for step in (2, 3):
        with pytest.raises(Pruned):
            found.look(step, {"roc_auc": 0.1})
    assert found.stopped == Rung(step=2, value=0.1, stop=found.stopped.stop)


def test_reports_that_are_rare_or_say_nothing_of_the_metric(tmp_path):
    documents = Documents(tmp_path.as_uri())
    found = climb(documents, "a", {1: 0.5, 20: 0.5})  # the third rung is the last that it came to
    found.look(60, {"loss": 0.1})
    found.look(61, {"roc_auc": float("nan")})
    assert list(documents.names("rungs")) == ["rungs/f/00000018/a.json"]
    assert found.due(54)


def test_trials_that_differ_in_more_than_their_parameters_are_not_compared(tmp_path):
    def where(params, **more):
        tune = {"hyperopt": {"space": {"eta": {"float": [0, 1]}}, "prune": ASHA} | more}
        config = TrainConfig.model_validate(train_config() | {"tune": tune, "trial_params": params})
        return folder(request(tmp_path, "trial", config.model_dump(mode="json")), config)

    assert where({"eta": 0.1}) == where({"eta": 0.2})
    assert where({"eta": 0.1}) != where({"eta": 0.1}, train_rows=100)


@pytest.mark.parametrize(("tuner", "prune"), [("hyperopt", MEDIAN), ("optuna", ASHA)])
def test_a_sweep_that_prunes_does_less_work_and_finds_as_good(tmp_path, tuner, prune):
    def body(root: Path, rounds: Path, **more: Any) -> Any:
        rounds.mkdir()
        space = {"eta": {"choice": [0.3, 0.001, 0.0005, 0.2, 0.0001]}, "max_depth": {"int": [1, 4]}}
        tune = {tuner: {"trials": 12, "parallel": 2, "space": space} | more}
        config = train_config(function="climb:train", params={"folder": str(rounds)}) | {"tune": tune}
        ref, code = store(root, rows(600)), archive(root, climb=CLIMB)
        return request(root, "tune", config, inputs={"features": ref}, code=code)

    pruned = execute(body(tmp_path / "pruned", tmp_path / "few", prune=prune))
    whole = execute(body(tmp_path / "whole", tmp_path / "many"))
    few, many = (len(list((tmp_path / name).iterdir())) for name in ("few", "many"))
    assert many % 27 == 0
    assert pruned.metrics["pruned"] >= 2
    assert few < 0.85 * many, "work is saved"
    assert (pruned.metrics["failed"], pruned.metrics["trials"]) == (0, 12), "to be pruned is not to fail"
    assert pruned.metrics["best_score"] >= whole.metrics["best_score"] - 0.02
    stopped = [trial for trial in pruned.facts["trials"] if trial["state"] == "pruned"]
    rungs = list(islice(steps(Prune.model_validate(prune)), 6))
    for trial in stopped:
        assert trial["step"] in rungs
        assert 0 < trial["score"] <= 1
        assert "roc_auc" in trial["reason"]
    assert pruned.facts["best"] not in {trial["index"] for trial in stopped}
    assert execute(body_again(pruned, tmp_path)) == pruned


def body_again(result: Any, tmp_path: Path) -> Any:
    """The same request, as a second run has it."""
    documents = Documents((tmp_path / "pruned").as_uri())
    found = newest(documents, "p", "r1")
    assert found is not None
    assert found.result() == result
    return found.request.model_copy(update={"run_id": "again"})


def test_the_built_in_xgboost_reports_the_sweeps_own_metric(tmp_path):
    tune = {"optuna": {"trials": 6, "metric": "brier", "direction": "minimize", "prune": ASHA,
                       "space": {"eta": {"choice": [0.3, 0.0001]}, "max_depth": {"int": [1, 4]}}}}  # fmt: skip
    config = train_config(params={"n_estimators": 20}) | {"tune": tune}
    result = execute(request(tmp_path, "tune", config, inputs={"features": store(tmp_path, rows(600))}))
    assert result.metrics["pruned"] >= 1
    assert result.outputs["best"].value["params"]["eta"] == 0.3


def test_a_function_reports_by_itself(tmp_path):
    tune = {"optuna": {"trials": 8, "sampler": "random", "prune": MEDIAN, "space": {"a": {"float": [0, 1]}}}}
    config = train_config(function="own:train") | {"tune": tune}
    code = archive(tmp_path, own=OWN)
    result = execute(request(tmp_path, "tune", config, inputs={"features": store(tmp_path, rows(600))}, code=code))
    assert result.metrics["pruned"] >= 1
    for trial in result.facts["trials"]:
        if trial["state"] == "pruned":
            assert trial["score"] == trial["params"]["a"], "its last value is its score"
