"""Each built-in estimator learns, is saved, loaded and answers as it did before; nothing else is loaded."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tests.tradewind_runtime.learnable import rows

from tradewind_runtime import estimators
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.frameworks import framework, framework_of
from tradewind_runtime.training import TrainContext

CLASSIFIERS = [
    "xgboost.XGBClassifier",
    "sklearn.LogisticRegression",
    "sklearn.RandomForestClassifier",
    "sklearn.HistGradientBoostingClassifier",
]
REGRESSORS = [
    "xgboost.XGBRegressor",
    "sklearn.RandomForestRegressor",
    "sklearn.HistGradientBoostingRegressor",
    "sklearn.Ridge",
]
FEW = {"XGB": "n_estimators", "Random": "n_estimators", "Hist": "max_iter"}


def context(task: str, name: str = "") -> TrainContext:
    params = {param: 5 for part, param in FEW.items() if part in name}
    return TrainContext.from_tables(
        rows(600, seed=1, task=task),
        rows(300, seed=2, task=task),
        label="label",
        task=task,
        exclude=["key", "at"],
        params=params,
    )


def files(model, folder: Path) -> dict[str, bytes]:
    framework_of(model).save(model, folder, np.zeros((1, 4)))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "task"),
    [(name, task) for name in CLASSIFIERS for task in ("binary", "multiclass")]
    + [(name, "regression") for name in REGRESSORS],
)
def test_an_estimator_answers_the_same_after_loading(name, task, tmp_path):
    given = context(task, name)
    model = estimators.fit(name, given)
    again = estimators.fit(name, context(task, name))
    first = files(model, tmp_path)
    (tmp_path / "again").mkdir()
    assert files(again, tmp_path / "again") == first, "the same training gives the same bytes"
    x, _ = given.valid.numpy()
    assert np.isnan(x).any()
    wrapped = framework_of(model).wrap(model).predict(x)
    loaded = framework(name.partition(".")[0]).load(first).predict(x)
    own = model.predict_proba(x) if task != "regression" else model.predict(x)
    own = own[:, 1] if task == "binary" else own
    assert loaded.shape == ((300, 3) if task == "multiclass" else (300,))
    rounding = 1e-6 if given.device == "cuda" and name.startswith("xgboost") else 0.0  # a GPU adds in another order
    np.testing.assert_allclose(loaded, own.astype(float), rtol=rounding, atol=rounding)
    np.testing.assert_array_equal(loaded, wrapped)


@pytest.mark.parametrize(
    "model",
    [
        CalibratedClassifierCV(RidgeClassifier(), cv=2),
        KNeighborsClassifier(algorithm="kd_tree"),
        KNeighborsClassifier(algorithm="ball_tree"),
        MLPClassifier((4,), max_iter=300, random_state=1),
        StackingClassifier([("a", LogisticRegression())], cv=2),
        VotingClassifier([("a", LogisticRegression())], voting="soft"),
    ],
    ids=lambda model: type(model).__name__,
)
def test_other_estimators_of_scikit_learn_are_saved_too(model, tmp_path):
    x, y = context("binary").valid.numpy()
    fitted = model.fit(np.nan_to_num(x), y)
    loaded = framework("sklearn").load(files(fitted, tmp_path)).predict(np.nan_to_num(x))
    np.testing.assert_array_equal(loaded, fitted.predict_proba(np.nan_to_num(x))[:, 1])


def test_early_stopping_keeps_the_best_trees(tmp_path):
    given = context("binary")
    booster = xgboost.train(
        {"objective": "binary:logistic", "eta": 1.0, "eval_metric": "logloss"},
        given.train.dmatrix(),
        60,
        evals=[(given.valid.dmatrix(), "valid")],
        early_stopping_rounds=5,
        verbose_eval=False,
        callbacks=[given.xgboost_callback()],
    )
    best = booster.best_iteration
    assert best + 1 < booster.num_boosted_rounds()
    loaded = framework("xgboost").load(files(booster, tmp_path))
    expected = booster.predict(given.valid.dmatrix(), iteration_range=(0, best + 1))
    np.testing.assert_allclose(loaded.predict(given.valid.numpy()[0]), expected, rtol=0, atol=0)
    assert given.reported["valid_logloss"] > 0
    assert framework_of(booster).features(booster) == given.features


def test_a_booster_of_a_gpu_answers_on_the_cpu(monkeypatch):
    given, said = context("binary"), []
    model = given.boost({"objective": "binary:logistic"}, 2)
    monkeypatch.setattr(xgboost.Booster, "set_param", lambda _, params: said.append(params))
    framework_of(model).wrap(model, 3)
    assert said[-1] == {"nthread": 3, "device": "cpu"}, "rows are not on the GPU, nor is what is loaded"


@pytest.mark.parametrize(("objective", "shape"), [("multi:softmax", (300, 3)), ("multi:softprob", (300, 3))])
def test_classes_are_answered_as_probabilities(objective, shape, tmp_path):
    given = context("multiclass")
    booster = xgboost.train({"objective": objective, "num_class": 3}, given.train.dmatrix(), 3)
    answer = framework("xgboost").load(files(booster, tmp_path)).predict(given.valid.numpy()[0])
    assert answer.shape == shape
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)


def test_the_files_own_list_of_types_is_not_believed(tmp_path):
    given = context("binary")
    model = make_pipeline(FunctionTransformer(np.sin), LogisticRegression()).fit(
        np.nan_to_num(given.train.numpy()[0]), given.train.numpy()[1]
    )
    model.named_steps["functiontransformer"].func = print
    with pytest.raises(StepError, match="TW552"):
        framework_of(model).save(model, tmp_path, np.zeros((1, 4)))
    import skops.io

    with pytest.raises(StepError, match="TW560"):
        framework("sklearn").load({"model.skops": skops.io.dumps(model)})


def test_a_saved_estimator_holds_no_time(tmp_path):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit([[0.0], [1.0]], [0, 1])
    archive = zipfile.ZipFile(io.BytesIO(files(model, tmp_path)["model.skops"]))
    assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_cannot_be_saved_is_told():
    with pytest.raises(StepError, match="cannot be saved") as caught:
        framework_of({"a": 1})
    assert caught.value.problems[0].got == "builtins.dict"


@pytest.mark.parametrize(
    ("name", "task", "params", "said"),
    [
        ("sklearn.Ridge", "binary", {}, "Ridge predicts values"),
        ("xgboost.XGBClassifier", "regression", {}, "XGBClassifier predicts classes"),
        ("sklearn.RandomForestClassifier", "binary", {"n_estimator": 3}, "did you mean: n_estimators"),
        ("xgboost.XGBClassifier", "binary", {"max_dept": 3}, "did you mean: max_depth"),
    ],
)
def test_a_wrong_choice_is_told(name, task, params, said):
    given = context(task)
    given.params = params
    with pytest.raises(StepError, match=said):
        estimators.fit(name, given)
