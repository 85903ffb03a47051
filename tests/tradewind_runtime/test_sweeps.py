"""A sweep without its processes: killed at any moment, whoever is quicker, within its budgets."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tradewind_runtime.learnable import START, request, train_config

from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.contract.sweep import Ended, Usage
from tradewind_runtime.documents import Documents
from tradewind_runtime.sweeps import Sweep
from tradewind_runtime.trials import Trials
from tradewind_runtime.tuners import tuner

TRIALS = 9
SPACE = {"eta": {"log": [0.01, 0.5]}, "max_depth": {"int": [2, 6]}}
SECONDS = 100


def asked(root: Path, name: str, **more: Any) -> StepRequest:
    body = {"trials": TRIALS, "parallel": 2, "space": SPACE, "max_failures": TRIALS} | more
    return request(root, "tune", train_config() | {"tune": {name: body}})


class Workers:
    """What a pool does, in no time: trials that fail where `max_depth` is 2, and are better the greater `eta`."""

    def __init__(self, body: StepRequest) -> None:
        self.trials = Trials(body, Documents(body.lake))
        self.started: list[dict[str, Any]] = []
        self.clock = START

    def start(self, price: float | None = None) -> tuple[Sweep, dict[int, StepRequest]]:
        return Sweep(self.trials, tuner(self.trials.tune), price), {}

    def begin(self, sweep: Sweep, pending: dict[int, StepRequest], most: int | None = None) -> None:
        for index, ready in sweep.ready():
            assert self.trials.documents.get(ready.result_path) is None, "what has a result is not done again"
            self.started.append(ready.config["trial_params"])
            pending[index] = ready
            if most is not None and len(pending) >= most:
                return

    def finish(self, ready: StepRequest) -> StepResult | None:
        params = ready.config["trial_params"]
        if params["max_depth"] == 2:
            return None
        result = StepResult(
            fingerprint=ready.fingerprint, step="trial", id=ready.id, pipeline="p", run_id="r",
            metrics={"score": params["eta"], "roc_auc": params["eta"]},
            started=self.clock, finished=self.clock + timedelta(seconds=SECONDS),
        )  # fmt: skip
        self.clock += timedelta(seconds=SECONDS)
        self.trials.documents.create_model(ready.result_path, result)
        return result

    def take(self, sweep: Sweep, index: int, result: StepResult | None) -> None:
        if result is None:
            sweep.failed(index, "too shallow", retryable=False)
        else:
            sweep.finished(index, result)

    def whole(self, most: int | None = None) -> Sweep:
        sweep, pending = self.start()
        self.begin(sweep, pending, most)
        while pending:
            index = min(pending)
            self.take(sweep, index, self.finish(pending.pop(index)))
            self.begin(sweep, pending, most)
        return sweep


def seen(sweep: Sweep) -> dict[int, Any]:
    return {index: (trial.params, trial.state, trial.score) for index, trial in sorted(sweep.over.items())}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, Any]]:
    found = {}
    for name in ("hyperopt", "optuna"):
        found[name] = seen(Workers(asked(tmp_path_factory.mktemp(name), name)).whole())
        assert len(found[name]) == TRIALS
        assert {state for _, state, _ in found[name].values()} == {"done", "failed"}, "or the test says too little"
    return found


@pytest.mark.parametrize("name", ["hyperopt", "optuna"])
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_killed_at_any_moment_it_ends_as_if_nobody_had(undisturbed, name, data):
    """Whoever is quicker, and wherever it is killed: before a result, after it, before it is taken."""
    with tempfile.TemporaryDirectory() as folder:
        workers = Workers(asked(Path(folder), name))
        sweep, pending = workers.start()
        workers.begin(sweep, pending)
        while pending:
            index = data.draw(st.sampled_from(sorted(pending)), "who is quicker")
            what = data.draw(st.sampled_from(["go on", "go on", "killed before", "killed after", "killed proposing"]))
            if what == "killed before":
                sweep, pending = workers.start()
            else:
                result = workers.finish(pending.pop(index))
                if what == "killed after":
                    sweep, pending = workers.start()
                else:
                    workers.take(sweep, index, result)
                if what == "killed proposing":
                    workers.begin(sweep, pending, len(pending) + 1)
                    sweep, pending = workers.start()
            workers.begin(sweep, pending)
        assert seen(sweep) == undisturbed[name]
        results = list(workers.trials.documents.names("results/trial"))
        assert len(results) == sum(state == "done" for _, state, _ in seen(sweep).values()), "none lost, none doubled"
        assert [trial.state for trial in workers.trials.all()] == [s for _, s, _ in undisturbed[name].values()]


def test_of_equal_trials_one_is_tried(tmp_path):
    space = {"max_depth": {"choice": [3, 4]}, "eta": {"choice": [1.0]}}
    workers = Workers(asked(tmp_path, "optuna", trials=6, parallel=3, space=space))
    sweep = workers.whole()
    assert len(sweep.over) == 6
    assert len(workers.started) == 2
    assert sweep.usage().trial_seconds == 2 * SECONDS, "they are paid for once"


@pytest.mark.parametrize(
    ("budget", "parallel", "by", "trials"),
    [
        ({"time": SECONDS * 3.5}, 1, "time", 4),
        ({"time": SECONDS * 3.5}, 2, "time", 4),
        ({"cost": SECONDS * 3.5 / 3600 * 2, "price_per_hour": 2}, 1, "cost", 4),
        ({"cost": SECONDS * 3.5 / 3600 * 5}, 1, "cost", 4),  # at the profile's 5
        ({"time": "1h", "cost": SECONDS * 2 / 3600 * 5}, 1, "cost", 2),
        ({"time": "1h", "cost": 100}, 1, "trials", TRIALS),
    ],
)
def test_no_trial_is_started_once_a_budget_is_used(tmp_path, budget, parallel, by, trials):
    space = SPACE | {"max_depth": {"int": [3, 6]}}
    workers = Workers(asked(tmp_path, "optuna", parallel=parallel, budget=budget, space=space))
    sweep, pending = workers.start(5.0)
    workers.begin(sweep, pending, 1)
    while pending:
        ((index, ready),) = pending.items()
        pending.clear()
        workers.take(sweep, index, workers.finish(ready))
        if index == 1:
            sweep, pending = workers.start(5.0)  # killed: what was used counts all the same
        workers.begin(sweep, pending, 1)
    assert (sweep.ended_by, len(sweep.over)) == (by, trials)
    again, pending = workers.start(5.0)
    workers.begin(again, pending)
    assert not pending
    assert (again.ended_by, seen(again)) == (by, seen(sweep))


def test_what_was_begun_when_a_budget_ended_is_finished_by_who_goes_on(tmp_path):
    space = SPACE | {"max_depth": {"int": [3, 6]}}
    workers = Workers(asked(tmp_path, "hyperopt", budget={"time": SECONDS / 2}, space=space))
    sweep, pending = workers.start()
    workers.begin(sweep, pending, 2)
    workers.take(sweep, 0, workers.finish(pending.pop(0)))
    workers.begin(sweep, pending)
    assert sorted(pending) == [1]
    assert sweep.ended is not None
    again, pending = workers.start()  # killed
    workers.begin(again, pending)
    assert sorted(pending) == [1]
    workers.take(again, 1, workers.finish(pending.pop(1)))
    workers.begin(again, pending)
    assert not pending
    assert (again.ended_by, len(again.over)) == ("time", 2)


def test_a_greater_budget_takes_the_trials_over_and_counts_them(tmp_path):
    space = SPACE | {"max_depth": {"int": [3, 6]}}
    first = Workers(asked(tmp_path, "optuna", parallel=1, budget={"time": SECONDS * 2.5}, space=space))
    assert len(first.whole(1).over) == 3
    more = Workers(asked(tmp_path, "optuna", parallel=1, budget={"time": SECONDS * 4.5}, space=space))
    more.clock = first.clock
    assert len(more.whole(1).over) == 5
    assert len(more.started) == 2


def test_what_is_under_way_counts_too(tmp_path):
    workers = Workers(asked(tmp_path, "optuna", budget={"time": 60}))
    sweep, pending = workers.start()
    workers.begin(sweep, pending, 1)
    assert not list(sweep.ready([datetime.now(UTC) - timedelta(seconds=61)]))
    assert sweep.ended == Ended(by="time", trials=1, usage=sweep.ended.usage)
    assert sweep.ended.usage.seconds == pytest.approx(61, abs=1)
    assert sweep.usage() == Usage(seconds=0.0, trial_seconds=0.0)
