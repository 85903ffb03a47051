"""The steps `train` and `evaluate`: the same inputs give the same digest, and the gate sees what is comparable."""

import json
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.tradewind_runtime.learnable import SPLIT, archive, request, rows, store, train_config, window

from tradewind_runtime import artefacts
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import ValueRef
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute
from tradewind_runtime.frameworks import predictor
from tradewind_runtime.training import matrix

WHEN = {"roc_auc": {"min": 0.6, "beats_champion_by": 0.0}}
MINE = """
import helper
def train(ctx):
    return helper.fit(ctx)
"""
HELPER = """
import xgboost
def fit(ctx):
    assert ctx.params["eta"] == 0.3, "the sweep's best wins"
    return xgboost.train({"objective": "binary:logistic", "seed": ctx.seed, **ctx.params}, ctx.train.dmatrix(), 20,
                         evals=[(ctx.valid.dmatrix(), "valid")], callbacks=[ctx.xgboost_callback()], verbose_eval=False)
"""

NINES = """
import xgboost
def train(ctx):
    return xgboost.train({"objective": "reg:squarederror", "base_score": 9}, ctx.train.dmatrix(), 1)
"""
GAPLESS = """
import numpy as np
from sklearn.linear_model import LogisticRegression
def train(ctx):
    x, y = ctx.train.numpy()
    return LogisticRegression().fit(np.nan_to_num(x), y)
"""


@pytest.fixture
def lake(tmp_path):
    root = tmp_path / "a lake"
    return root, store(root, rows())


def train(lake, **more):
    root, ref = lake
    inputs = {"features": ref} | more.pop("inputs", {})
    return execute(request(root, "train", more.pop("config", train_config()), **{"inputs": inputs} | more))


def evaluate(lake, model, champion=None, **more):
    root, ref = lake
    config = {"train": train_config()["train"], "split": SPLIT, "when": WHEN} | more.pop("config", {})
    return execute(
        request(
            root,
            "evaluate",
            config,
            inputs={"features": more.pop("features", ref), "model": model},
            pins={"champion": champion},
            **more,
        )
    )


def test_the_same_training_gives_the_same_digest_and_an_artefact_that_says_all(lake):
    root, _ = lake
    first = train(lake)
    again = train(lake, refresh="again", run_id="r2")
    assert first.fingerprint != again.fingerprint
    assert first.outputs == again.outputs
    found = artefacts.load(Documents(root.as_uri()), first.outputs["model"].digest)
    assert found.manifest.trained_until == "2013-01-26T00:00:00+00:00"
    assert found.manifest.features == ("a", "b", "noise", "flag")
    assert found.manifest.classes == (0, 1)
    assert set(found.files) == {
        "model.ubj",
        "profile.json",
        "reference.arrow",
        "signature.json",
        "input_example.json",
        "training.json",
    }
    assert json.loads(found.files["training.json"])["params"] == {"n_estimators": 10}
    example = json.loads(found.files["input_example.json"])
    assert list(example[0]) == sorted(found.manifest.features)
    assert len(example) == 5
    assert {column["name"] for column in json.loads(found.files["signature.json"])["inputs"]} == set(example[0])
    assert first.metrics["rows_train"] == 1000
    other = train_config(seed=8, params={"n_estimators": 10, "subsample": 0.5})
    assert train(lake, config=other).outputs != first.outputs


def test_a_function_gets_the_sweeps_best_and_answers_as_offline(lake):
    root, _ = lake
    best = ValueRef(value={"params": {"eta": 0.3}, "score": 0.9, "trials": 3})
    result = train(
        lake,
        config=train_config(function="mine:train", params={"eta": 0.1, "max_depth": 3}),
        inputs={"best": best},
        code=archive(root, mine=MINE, helper=HELPER),
    )
    assert result.facts["params"] == {"eta": 0.3, "max_depth": 3}
    assert 0 < result.metrics["last_valid_logloss"] < 0.7
    model = predictor(artefacts.load(Documents(root.as_uri()), result.outputs["model"].digest))
    answers = model.predict(matrix(rows(), ("a", "b", "noise", "flag")))
    assert 0 < answers.min() < answers.max() < 1
    judged = evaluate(lake, result.outputs["model"])
    test = pc.greater_equal(rows()["at"], pa.scalar(window().end - timedelta(days=5)))
    y, p = rows()["label"].to_numpy()[test.to_numpy()], answers[test.to_numpy()]
    assert judged.metrics["accuracy"] == pytest.approx(np.mean((p >= 0.5) == y))
    assert judged.metrics["rows"] == 250


@pytest.mark.parametrize(
    ("text", "said", "where"),
    [
        ("def train(ctx):\n    return 1 + 'a'\n", "TypeError", ("include/models/mine.py", 2)),
        ("def train(ctx):\n    return {'a': 1}\n", "builtins.dict", (None, None)),
        ("def other(ctx):\n    return 1\n", "no function 'train'", (None, None)),
        ("import nothing_of_that_name\n", "nothing_of_that_name", ("include/models/mine.py", 1)),
        ("def train(ctx:\n", "SyntaxError", ("include/models/mine.py", 1)),
        (NINES, "not probabilities", (None, None)),
        (GAPLESS, "put an imputer", (None, None)),
    ],
)
def test_a_wrong_function_is_told_with_its_place(lake, text, said, where):
    with pytest.raises(StepError, match=said) as caught:
        train(lake, config=train_config(function="mine:train"), code=archive(lake[0], mine=text))
    assert not caught.value.retryable
    assert (caught.value.problems[0].file, caught.value.problems[0].line) == where


def test_a_module_that_is_missing_is_told(lake):
    with pytest.raises(StepError, match="no module 'absent'"):
        train(lake, config=train_config(function="absent:train"), code=archive(lake[0], mine=MINE))


def test_another_versions_code_is_not_remembered(lake):
    good = "import xgboost as x\ndef train(ctx):\n    return x.XGBClassifier(n_estimators={}).fit(*ctx.train.numpy())\n"
    config = train_config(function="mine:train")
    one, two = (train(lake, config=config, code=archive(lake[0], mine=good.format(n))) for n in (1, 2))
    assert one.outputs["model"].digest != two.outputs["model"].digest


def test_a_gpu_that_was_asked_for_and_is_not_there_is_missed(lake, caplog, monkeypatch):
    monkeypatch.setattr("tradewind_runtime.learning.devices.gpus", list)
    train(lake, settings={"gpus": 1})
    assert "asks for a GPU, and none is visible here" in caplog.text


def test_a_worse_candidate_does_not_beat_the_champion(lake):
    good = train(lake).outputs["model"]
    worse = train(lake, config=train_config(features=["noise", "a"])).outputs["model"]
    first = evaluate(lake, worse)
    assert first.verdict.passed, first.verdict
    no = evaluate(lake, worse, good.digest)
    assert not no.verdict.passed
    assert "against the champion's" in no.verdict.reasons[0]
    value = no.outputs["evaluation"].value
    assert value["champion"]["roc_auc"] > value["candidate"]["roc_auc"]
    assert value["compared_rows"] == value["rows"] == 250
    yes = evaluate(lake, good, worse.digest)
    assert yes.verdict.passed
    assert yes.metrics["champion_roc_auc"] == pytest.approx(value["candidate"]["roc_auc"])
    assert evaluate(lake, good, good.digest).verdict.reasons == ("unchanged",)


def test_only_rows_later_than_both_trainings_are_compared(lake):
    root, ref = lake
    later = store(root, rows(2000, days=40))
    candidate = train((root, ref)).outputs["model"]  # until 26 January
    newer = train((root, later), window=window(33)).outputs["model"]  # until 29 January
    judged = evaluate((root, later), candidate, newer.digest)
    value = judged.outputs["evaluation"].value
    assert 0 < value["compared_rows"] < value["rows"]
    assert (
        value["compared_rows"]
        == pc.sum(
            pc.and_(
                pc.greater_equal(rows(2000, days=40)["at"], pa.scalar(window(28).end)),
                pc.less(rows(2000, days=40)["at"], pa.scalar(window().end)),
            )
        ).as_py()
    )
    newest = train((root, later), window=window(40)).outputs["model"]
    refused = evaluate((root, later), candidate, newest.digest)
    assert not refused.verdict.passed
    assert "no test row from 2013-02-05" in refused.verdict.reasons[0]


def test_a_champion_that_cannot_be_compared_stays(lake):
    candidate = train(lake).outputs["model"]
    other = train(lake, config=train_config(label="flag", exclude=["key", "noise"])).outputs["model"]
    assert "it predicts flag" in evaluate(lake, candidate, other.digest).verdict.reasons[0]
    assert "no artefact" in evaluate(lake, candidate, "0" * 64).verdict.reasons[0]


def test_a_random_split_is_compared_where_it_is_the_same(lake):
    split = {"random": {"valid": 0.2, "test": 0.3, "seed": 1}}
    config = train_config(exclude=["key", "at"]) | {"split": split}
    other = config | {"split": {"random": {"seed": 2}}}
    candidate = train(lake, config=config).outputs["model"]
    worse = train(lake, config=config | train_config(exclude=["key", "at", "a"]) | {"split": split}).outputs["model"]
    elsewhere = train(lake, config=other).outputs["model"]
    yes = evaluate(lake, candidate, worse.digest, config={"split": split})
    assert yes.verdict.passed
    assert yes.metrics["compared_rows"] == yes.metrics["rows"] > 300
    no = evaluate(lake, candidate, elsewhere.digest, config={"split": split})
    assert "chosen in another way" in no.verdict.reasons[0]


def test_an_empty_or_single_class_test_set_fails_the_gate(lake):
    root, _ = lake
    model = train(lake).outputs["model"]
    table = rows()
    before = table.filter(pc.less(table["at"], pa.scalar(window().end - timedelta(days=5))))
    none = evaluate(lake, model, features=store(root, before))
    assert not none.verdict.passed
    assert none.verdict.reasons[0] == "0 test rows are fewer than 30"
    ones = table.filter(
        pc.or_(pc.less(table["at"], pa.scalar(window().end - timedelta(days=5))), pc.equal(table["label"], 1))
    )
    single = evaluate(lake, model, features=store(root, ones))
    assert "the test rows hold one class only" in single.verdict.reasons
    assert "roc_auc could not be measured" in single.verdict.reasons


def test_slices_and_chosen_metrics(lake):
    model = train(lake).outputs["model"]
    result = evaluate(lake, model, config={"evaluate": {"by": ["flag"], "metrics": ["f1"]}})
    assert {item["value"]: item["rows"] for item in result.facts["slices"]["flag"]} == {False: 126, True: 124}
    assert set(result.outputs["evaluation"].value["candidate"]) == {"f1", "roc_auc"}
    with pytest.raises(StepError, match="no column nope"):
        evaluate(lake, model, config={"evaluate": {"by": ["nope"]}})


def test_a_changed_model_is_not_evaluated(lake):
    root, _ = lake
    model = train(lake).outputs["model"]
    path = artefacts.artefact_path(model.digest, "model.ubj")
    documents = Documents(root.as_uri())
    documents.put(path, documents.get(path) + b" ")
    with pytest.raises(StepError, match="TW560"):
        evaluate(lake, model)
