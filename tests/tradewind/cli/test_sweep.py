"""`tradewind sweep` on a sweep while it goes, when it is killed, and afterwards."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.tradewind.cli.conftest import Typed
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config
from tests.tradewind_runtime.steprun import start

from tradewind.cli import sweep
from tradewind.errors import TradewindError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute

STEPS = """
import time
import xgboost

def train(ctx):
    if ctx.params["depth"] == 1:
        raise ValueError("too shallow")
    for step in range(6):
        time.sleep(ctx.params["sleep"])
        ctx.report(step, roc_auc=ctx.params["eta"])
    return xgboost.XGBClassifier(n_estimators=3, max_depth=ctx.params["depth"]).fit(*ctx.train.numpy())
"""


def project(root: Path) -> Path:
    (root / "profiles").mkdir(parents=True)
    (root / "profiles/local.yaml").write_text("profile: local\nsettings: {price_per_hour: 3600}\n")
    return root


def sweep_of(root: Path, sleep: float = 0.0, **more: Any) -> StepRequest:
    """Of ten trials that fail, are pruned or come to their end."""
    lake = root / ".tradewind/lake"
    space = {"eta": {"float": [0.1, 0.9]}, "depth": {"choice": [1, 2, 3, 4]}, "sleep": {"choice": [sleep]}}
    tune = {"trials": 10, "space": space, "max_failures": 9, "prune": {"median": {"warmup": 2, "trials": 3}}}
    config = train_config(function="stepwise:train") | {"tune": {"optuna": tune | more}}
    inputs, code = {"features": store(lake, rows(300))}, archive(lake, stepwise=STEPS)
    return request(lake, "tune", config, inputs=inputs, code=code, pipeline="late")


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    root = project(tmp_path_factory.mktemp("a project"))
    return root, execute(sweep_of(root))


def test_a_sweep_that_is_over(over, typed: Typed) -> None:
    root, result = over
    body = json.loads(typed(root, "sweep", "show", "late", "--format", "json").stdout)
    assert body["ok"]
    shown = body["sweep"]
    assert (shown["over"], shown["ended_by"], shown["tuner"], shown["run"]) == (True, "trials", "optuna", "r1")
    kept = ("index", "params", "state", "score", "step", "reason")
    told = [{name: trial[name] for name in kept} for trial in shown["trials"]]
    assert told == result.facts["trials"]
    assert {trial["state"] for trial in told} == {"done", "pruned", "failed"}, "or the test says too little"
    assert shown["best"]["score"] == shown["best_so_far"][-1] == result.metrics["best_score"]
    assert set(shown["importance"]) == {"eta", "depth", "sleep"}
    assert shown["usage"]["cost"] == pytest.approx(shown["usage"]["trial_seconds"])
    assert shown["usage"]["seconds"] == pytest.approx(result.metrics["seconds"], abs=0.001)


def test_a_page_for_people(over, typed: Typed) -> None:
    root, result = over
    text = typed(root, "sweep", "show", "late", "--watch").stdout
    assert "late, run r1: optuna, maximize roc_auc" in text
    assert "10 of 10 trials" in text
    assert "over, ended by trials" in text
    assert f"best: {result.metrics['best_score']:.5f} by trial {result.facts['best'] + 1}" in text
    assert "ValueError: too shallow" in text
    assert "worse than the median" in text
    assert "what matters" in text
    short = typed(root, "sweep", "show", "late", "--limit", "2").stdout
    assert len(short.splitlines()) == len(text.splitlines()) - 8


def test_a_run_that_took_a_sweep_over(over, typed: Typed) -> None:
    root, result = over
    documents = Documents((root / ".tradewind/lake").as_uri())
    documents.put("runs/late/manual__2/results/tune", f"results/tune/{result.fingerprint}.json".encode())
    shown = json.loads(typed(root, "sweep", "show", "late", "--run", "manual__2", "--format", "json").stdout)["sweep"]
    assert shown["run"] == "r1"
    for words in (("late", "--run", "none"), ("lat",)):
        error = typed(root, "sweep", "show", *words).exception
        assert isinstance(error, TradewindError)
        [problem] = error.problems
        assert (problem.code, problem.suggestion) == ("TW342", "late" if words == ("lat",) else None)


@pytest.mark.server
def test_a_sweep_is_watched_from_its_first_trial_to_its_last(tmp_path, typed: Typed, monkeypatch) -> None:
    monkeypatch.setattr(sweep, "SECONDS", 0.05)
    root = project(tmp_path / "live")
    body = sweep_of(root, sleep=0.05, trials=6)
    process = start(body, "first")
    documents = Documents(body.lake)
    while not list(documents.names("sweeps")):
        time.sleep(0.02)
    stop = threading.Timer(100, process.kill)
    stop.start()
    lines = typed(root, "sweep", "show", "late", "--watch", "--format", "json").stdout.splitlines()
    stop.cancel()
    process.wait(30)
    looks = [json.loads(line)["sweep"] for line in lines]
    assert [look["over"] for look in looks] == [False] * (len(looks) - 1) + [True]
    assert any(trial["state"] == "running" for look in looks for trial in look["trials"])
    counts = [sum(trial["state"] != "running" for trial in look["trials"]) for look in looks]
    assert counts == sorted(counts)
    assert counts[-1] == 6
    assert len(set(counts)) > 3, "it is seen as it goes"


@pytest.mark.server
def test_a_sweep_that_was_killed(tmp_path, typed: Typed) -> None:
    root = project(tmp_path / "killed")
    body = sweep_of(root, sleep=0.05)
    documents = Documents(body.lake)
    process: subprocess.Popen[bytes] = start(body, "first")
    while len(list(documents.names("results/trial"))) < 2:
        time.sleep(0.02)
    process.kill()
    process.wait()
    shown = json.loads(typed(root, "sweep", "show", "late", "--format", "json").stdout)["sweep"]
    states = [trial["state"] for trial in shown["trials"]]
    assert not shown["over"]
    assert shown["ended_by"] is None
    assert 2 <= len(states) - states.count("running") < 10
