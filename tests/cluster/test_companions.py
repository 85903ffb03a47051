"""A step's companions are pods: a training on several, a sweep in several, one that is killed, and none that is left.

No Airflow: the pods are those that it would start, and the rights are the chart's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.cluster.companions import NAMESPACE, Place, opened
from tests.cluster.policies import reached_by_a_step
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.images import Image
from tests.tradewind_runtime.learnable import rows

from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.execute import execute

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
MODELS = """
import time, xgboost

def train(ctx):
    pause, rounds = ctx.params.get("pause", 0), ctx.params["rounds"]
    report = ctx.report_model
    def slowly(step, model, metrics):
        time.sleep(pause)
        ctx.checkpoints.documents.put(f"rounds/{ctx.seed}/{ctx.rank}-{step:04d}-{time.time_ns()}", b"")
        report(step, model, metrics)
    ctx.report_model = slowly
    return ctx.boost({"objective": "binary:logistic", "eval_metric": "auc", "max_depth": 4, "base_score": 0.5}, rounds)

def trial(ctx):
    ctx.checkpoints.documents.put(f"marks/{ctx.params['eta']}-{time.time_ns()}", b"")
    time.sleep(3)
    return xgboost.train({"objective": "binary:logistic", **ctx.params}, ctx.train.dmatrix(), 5)
"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, steps: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Nobody else's."""
    with opened(cluster, steps.name, tmp_path_factory.mktemp("companions")) as found:
        yield found


@pytest.fixture(scope="module")
def features(place: Place) -> DatasetRef:
    """Few values in each column, so that the same bins are found by whoever looks."""
    table = rows()
    for name in ("a", "b", "noise"):
        values = np.round(np.nan_to_num(table[name].to_numpy(zero_copy_only=False)))
        table = table.set_column(table.schema.get_field_index(name), name, [values])
    return place.table(table)


def training(place: Place, features: DatasetRef, *, workers: int = 3, seed: int = 7, **params: Any) -> StepRequest:
    """On so many workers."""
    distributed = {"workers": workers, "framework": "xgboost"} if workers > 1 else None
    train = {"params": params, "seed": seed} | ({"distributed": distributed} if distributed else {})
    return place.request("train", features, "mine:train", {"train": train}, mine=MODELS)


def test_its_policies_hold(place: Place) -> None:
    assert reached_by_a_step(place.cluster, NAMESPACE, place.image, place.lake_port) == {"lake"}


def test_three_pods_learn_what_one_process_does(place: Place, features: DatasetRef) -> None:
    one = execute(training(place, features, workers=1, rounds=1))
    wanted = training(place, features, rounds=1)
    name = place.start(wanted)
    place.ended(name)
    three = place.result(wanted)
    assert three.metrics["rows_train"] == one.metrics["rows_train"], "of all workers"
    assert {key: value for key, value in three.metrics.items() if key.startswith("valid")} == {
        key: value for key, value in one.metrics.items() if key.startswith("valid")
    }, "the first tree's gradients are halves: no sum is rounded"
    more = execute(training(place, features, workers=1, rounds=30)).metrics["valid_roc_auc"]
    wanted = training(place, features, rounds=30)
    place.ended(place.start(wanted))
    assert place.result(wanted).metrics["valid_roc_auc"] == pytest.approx(more, abs=0.01)
    print(f"nothing left after {place.nothing_left():.1f} s")


def test_a_killed_worker_is_told_and_the_retry_goes_on(place: Place, features: DatasetRef) -> None:
    wanted = training(place, features, rounds=30, pause=0.5, seed=8)
    name = place.start(wanted)
    kept = f"checkpoints/{wanted.fingerprint}"
    place.cluster.until(lambda: place.step_of(kept) >= 5, "some rounds", seconds=240)
    assert len(place.companions()) == 2
    killed = time.monotonic()
    place.kubectl("delete", "pod", place.companions()[0], "--now", "--wait=false")
    place.ended(name)
    print(f"given up {time.monotonic() - killed:.1f} s after the kill\n{place.error(wanted)}")
    assert re.match(r"TW549: rank [12] of 3 workers was lost: it ", str(place.error(wanted)))
    assert place.error(wanted).retryable
    place.nothing_left()
    again = place.start(wanted, attempt=2)
    place.ended(again)
    for rank in (0, 1, 2):
        begun = [
            int(path.rpartition("/")[2].split("-")[1])
            for path in place.lake.documents.names("rounds/8")
            if f"/{rank}-" in path
        ]
        assert begun.count(0) == 1, "nobody begins anew"
        assert rank or sorted(set(begun)) == list(range(30)), "the killed one had not come to the end of its round"
    assert place.result(wanted).metrics["valid_roc_auc"] > 0.8


def test_a_sweep_in_pods_loses_no_trial_to_a_killed_one(place: Place, features: DatasetRef) -> None:
    tune = {"hyperopt": {"trials": 8, "parallel": 3, "space": {"eta": {"float": [0.1, 0.9]}}}, "workers": "pods"}
    wanted = place.request("tune", features, "mine:trial", {"tune": tune}, mine=MODELS)
    name = place.start(wanted)
    documents = place.lake.documents
    place.cluster.until(lambda: len(list(documents.names("marks"))) >= 3, "three trials", seconds=240)
    place.kubectl("delete", "pod", place.companions()[0], "--now", "--wait=false")
    place.ended(name)
    result = place.result(wanted)
    assert result.metrics["trials"] == 8
    assert result.metrics["failed"] == 0
    assert len(list(documents.names("results/trial"))) == 8
    marks = [path.rpartition("/")[2].rpartition("-")[0] for path in documents.names("marks")]
    assert len(marks) == 9, "the one that was killed is begun twice, and no other"
    assert len(set(marks)) == 8
    place.nothing_left()


def test_cancelling_leaves_no_pod(place: Place, features: DatasetRef) -> None:
    wanted = training(place, features, rounds=300, pause=0.5)
    name = place.start(wanted)
    place.cluster.until(lambda: len(place.companions()) == 2, "the companions", seconds=120)
    place.cluster.until(lambda: place.step_of(f"checkpoints/{wanted.fingerprint}") >= 1, "a round", seconds=120)
    place.kubectl("delete", "pod", name, "--wait=false")
    print(f"nothing left after {place.nothing_left():.1f} s")


def test_a_pipeline_that_did_not_ask_has_no_way_to_kubernetes(place: Place, features: DatasetRef) -> None:
    """As when Kubernetes itself is away: no one can know that a try later is in vain."""
    wanted = training(place, features, rounds=2).model_copy(update={"pipeline": "q"})
    place.ended(place.start(wanted))
    error = place.error(wanted)
    assert error.problems[0].code == "TW589"
    assert "Kubernetes cannot be reached at https://" in str(error)
    assert "companions: true" in str(error)
    assert error.retryable


def test_one_without_the_right_is_told(place: Place, features: DatasetRef) -> None:
    """The last of them: the right does not come back."""
    place.cluster.kubectl("delete", "rolebinding", f"{NAMESPACE}-companions", "--namespace", NAMESPACE)
    wanted = training(place, features, rounds=2)
    place.ended(place.start(wanted))
    error = place.error(wanted)
    assert error.problems[0].code == "TW589"
    assert "is forbidden" in str(error)
    assert "companions: true" in str(error)
    assert not error.retryable
