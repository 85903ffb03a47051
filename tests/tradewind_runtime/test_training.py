"""The context of a training function: the same rows in every form, and labels that are told when they are wrong."""

import numpy as np
import pyarrow as pa
import pytest
from tests.tradewind_runtime.learnable import rows

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.training import TrainContext, classes_of, encoded, feature_names


def context(task="binary", **rest):
    return TrainContext.from_tables(
        rows(200, task=task),
        rows(100, seed=2, task=task),
        label="label",
        task=task,
        **{"exclude": ["key", "at"]} | rest,
    )


def test_every_form_holds_the_same_rows():
    given = context()
    assert given.features == ("a", "b", "noise", "flag")
    x, y = given.train.numpy()
    assert x.shape == (200, 4)
    assert np.isnan(x[:, 0]).sum() == given.train.arrow()["a"].null_count > 0
    np.testing.assert_array_equal(given.train.pandas()["b"], x[:, 1])
    np.testing.assert_array_equal(given.train.polars()["label"].to_numpy(), y)
    matrix = given.train.dmatrix()
    assert (matrix.num_row(), matrix.feature_names) == (200, list(given.features))
    np.testing.assert_array_equal(matrix.get_label(), y)
    assert len(given.valid) == 100


def test_a_notebook_may_give_pandas_or_polars():
    frame = rows(100).to_pandas()
    given = TrainContext.from_tables(frame, context().valid.polars(), label="label", exclude=["key", "at"])
    assert given.features == context().features


def test_classes_are_numbered_in_order():
    given = context("multiclass")
    assert given.classes == ("low", "middle", "top")
    assert [given.classes[int(i)] for i in given.train.numpy()[1]] == given.train.arrow()["label"].to_pylist()
    assert context("regression").classes == ()


@pytest.mark.parametrize(
    ("column", "task", "said"),
    [
        (pa.chunked_array([[1, None]]), "binary", "null in 1 of 2"),
        (pa.chunked_array([[1, 1]]), "binary", "1 class "),
        (pa.chunked_array([[0, 1, 2]]), "binary", "task: multiclass"),
        (pa.chunked_array([["a", "b"]]), "regression", "needs a number"),
        (pa.chunked_array([list(range(2000))]), "multiclass", "is it a regression"),
    ],
)
def test_a_label_that_does_not_suit_the_task(column, task, said):
    with pytest.raises(StepError, match=said):
        classes_of(column, task)


def test_a_class_that_was_not_in_training():
    with pytest.raises(StepError, match="do not"):
        encoded(pa.chunked_array([["a", "z"]]), ("a", "b"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"label": "nope"}, "no column nope"),
        ({"label": "label", "features": ["a", "nope"]}, "no column nope"),
        ({"label": "label", "features": ["a", "label"]}, "among the features"),
        ({"label": "label", "exclude": ["at"]}, r"key \(string\)"),
    ],
)
def test_columns_that_cannot_be_learnt_from(given, said):
    with pytest.raises(StepError, match=said):
        feature_names(rows(10).schema, given.pop("label"), **given)


def test_the_splits_time_and_provenance_are_no_features():
    assert feature_names(rows(10).schema, "label", exclude=["key"], time="at") == ("a", "b", "noise", "flag")
