"""A training that is killed goes on from its last whole state, and ends with the model that it would have made."""

import time

import numpy as np
import pytest
import xgboost
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config
from tests.tradewind_runtime.steprun import start

from tradewind_runtime.checkpoints import Checkpoints, checkpoints_path
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute
from tradewind_runtime.frameworks import sklearn as skops
from tradewind_runtime.frameworks.xgboost import dumps, loads
from tradewind_runtime.training import TrainContext

PLAIN = {"objective": "binary:logistic", "eval_metric": ["logloss", "auc"], "eta": 0.1}
SAMPLED = PLAIN | {"subsample": 0.7, "colsample_bynode": 0.5}
BOOST = """
import os, time
def train(ctx):
    report = ctx.report
    def slowly(step, **metrics):
        report(step, **metrics)
        time.sleep(float(os.environ.get("PAUSE", 0)))
    ctx.report = slowly
    return ctx.boost({"objective": "binary:logistic", "eval_metric": "auc"}, rounds=40, patience=30)
"""
PARTS = """
import os, time
import numpy as np
from sklearn.neural_network import MLPClassifier
from tradewind_runtime.frameworks.sklearn import dumps, loads
def train(ctx):
    x, y = ctx.train.numpy()
    x = np.nan_to_num(x)
    done, model = 0, MLPClassifier((8,), random_state=ctx.seed)
    if latest := ctx.checkpoints.latest():
        done, model = latest[0], loads(latest[1])
    for epoch in range(done, 20):
        model.partial_fit(x, y, classes=[0, 1])
        ctx.checkpoints.save(epoch + 1, dumps(model))
        time.sleep(float(os.environ.get("PAUSE", 0)))
    return model
"""


@pytest.fixture(params=["lake", "memory"])
def kept(request, tmp_path):
    if request.param == "memory":
        return Checkpoints(seconds=0)
    return Checkpoints(Documents(tmp_path.as_uri()), "checkpoints/x", seconds=0)


def test_the_last_two_stay_until_they_are_cleared(kept, tmp_path):
    assert kept.latest() is None
    (tmp_path / "state").write_bytes(b"100")
    for step, state in ((9, b"9"), (10, b"10"), (100, tmp_path / "state")):
        kept.save(step, state)
    assert kept.latest() == (100, b"100")
    assert len(list(kept.documents.names(kept.folder))) == 2
    kept.clear()
    assert kept.latest() is None


def test_a_damaged_state_is_passed_over(kept, caplog):
    kept.save(1, b"whole")
    kept.save(2, b"to be damaged")
    newest = list(kept.documents.names(kept.folder))[-1]
    kept.documents.put(newest, b"damage")
    assert kept.latest() == (1, b"whole")
    assert "is not what its name says" in caplog.text


def test_states_are_offered_often_and_kept_seldom():
    kept, made = Checkpoints(seconds=0.2), []
    for step in range(5):
        kept.offer(step, lambda step=step: made.append(step) or b"state")
    assert (made, kept.latest()) == ([], None)
    time.sleep(0.25)
    for step in (5, 6):
        kept.offer(step, lambda step=step: made.append(step) or b"state")
    assert (made, kept.latest()) == ([5], (5, b"state"))


def context(**rest) -> TrainContext:
    return TrainContext.from_tables(rows(600, seed=1), rows(300, seed=2), label="label", exclude=["key", "at"], **rest)


class KilledError(Exception):
    pass


def stopped_after(given: TrainContext, step: int, action):
    """A training that ends in its midst."""
    report = given.report

    def counting(number: int, **metrics: float) -> None:
        report(number, **metrics)
        if number == step:
            raise KilledError

    given.report = counting
    with pytest.raises(KilledError):
        action()
    given.report = report


@pytest.mark.parametrize("patience", [None, 8])
def test_boosting_goes_on_to_the_very_same_model(patience):
    whole = context().boost(PLAIN, 60, patience)
    given = context(checkpoints=Checkpoints(seconds=0))
    stopped_after(given, 17, lambda: given.boost(PLAIN, 60, patience))
    assert given.checkpoints.latest()[0] == 17
    resumed = given.boost(PLAIN, 60, patience)
    assert dumps(resumed) == dumps(whole)
    assert whole.num_boosted_rounds() < 60 if patience else whole.num_boosted_rounds() == 60
    assert loads(dumps(whole)).num_boosted_rounds() == whole.num_boosted_rounds()


def test_where_rows_are_sampled_it_goes_on_to_a_model_as_good():
    whole = context().boost(SAMPLED, 60)
    given = context(checkpoints=Checkpoints(seconds=0))
    stopped_after(given, 17, lambda: given.boost(SAMPLED, 60))
    resumed = given.boost(SAMPLED, 60)
    assert resumed.get_dump()[:17] == whole.get_dump()[:17]
    assert len(set(resumed.get_dump()[17:]) & set(resumed.get_dump()[:17])) == 0, "no sample is drawn twice"
    score = float(whole.eval(given.valid.dmatrix()).rpartition(":")[2])
    assert given.reported["valid_auc"] == pytest.approx(score, abs=0.02)


def test_boosting_is_what_xgboost_itself_trains():
    given = context()
    params = {"objective": "binary:logistic", "eval_metric": ["logloss", "auc"], "seed": 7, "device": given.device}
    own = xgboost.train(params, given.train.dmatrix(), 60, evals=[(given.valid.dmatrix(), "valid")],
                        early_stopping_rounds=5, verbose_eval=False, callbacks=[given.xgboost_callback()])  # fmt: skip
    reported = dict(given.reported)
    ours = given.boost(params, 60, patience=5)
    assert (ours.best_iteration, ours.num_boosted_rounds()) == (own.best_iteration, own.num_boosted_rounds())
    assert ours.get_dump() == own.get_dump()
    assert given.reported == pytest.approx(reported)


@pytest.mark.parametrize(
    "make", [lambda: SGDClassifier(loss="log_loss", random_state=1), lambda: MLPClassifier((4,), random_state=1)]
)
def test_partial_fits_go_on_to_the_very_same_model(make):
    x, y = context().train.numpy()
    x = np.nan_to_num(x)
    whole, half = make(), make()
    for _ in range(6):
        whole.partial_fit(x, y, classes=[0, 1])
    for _ in range(3):
        half.partial_fit(x, y, classes=[0, 1])
    resumed = skops.loads(skops.dumps(half))
    for _ in range(3):
        resumed.partial_fit(x, y)
    np.testing.assert_array_equal(resumed.predict_proba(x), whole.predict_proba(x))


@pytest.mark.parametrize("code", [BOOST, PARTS], ids=["xgboost", "scikit-learn"])
def test_a_killed_training_goes_on_and_leaves_no_state_behind(code, tmp_path, caplog):
    root = tmp_path / "lake"
    ref = store(root, rows())
    asked = request(
        root,
        "train",
        train_config(function="mine:train", features=["b", "noise"]),
        inputs={"features": ref},
        code=archive(root, mine=code),
        settings={"threads": 1, "checkpoint_seconds": 0},
    )
    kept = Checkpoints(Documents(root.as_uri()), checkpoints_path(asked.fingerprint))
    process = start(asked, "killed", PAUSE="0.2")
    deadline = time.monotonic() + 60
    while len(list(kept.documents.names(kept.folder))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.02)
    process.kill()
    process.wait()
    process.stderr.close()
    step, _ = kept.latest()
    assert 2 <= step < 20
    assert Documents(root.as_uri()).get(asked.result_path) is None
    caplog.set_level("INFO", "tradewind")
    resumed = execute(asked)
    assert f"going on from the checkpoint after step {step}" in caplog.text
    assert kept.latest() is None
    whole = execute(asked.model_copy(update={"refresh": "anew"}))
    assert resumed.outputs == whole.outputs, "as if nobody had killed it"
