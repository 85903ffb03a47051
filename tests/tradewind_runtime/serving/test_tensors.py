import numpy as np
import pytest

from tradewind_runtime.serving.tensors import BadRequestError, Tensor, columns, matrix

FEATURES = ("distance", "hour", "late")


def tensor(name, data, datatype="FP64", shape=None):
    return Tensor(name, tuple(shape or [len(data)]), datatype, data)


def good():
    return [
        tensor("hour", [1, 2], "INT64"),
        tensor("late", [True, False], "BOOL"),
        tensor("distance", [[1.5], [None]], shape=[2, 1]),
        tensor("key", ["a", "b"], "BYTES"),
    ]


def test_named_columns_in_any_order_with_others_besides():
    sent = columns(good(), FEATURES)
    assert sent["key"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(matrix(sent, FEATURES), [[1.5, 1, 1], [np.nan, 2, 0]])


def test_one_matrix_in_the_features_order():
    sent = columns([tensor("x", [1, 2, 3, 4, 5, 6], shape=[2, 3])], FEATURES)
    np.testing.assert_array_equal(matrix(sent, FEATURES), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ([], ["no inputs"]),
        (
            [tensor("hour", [1.0]), tensor("distnce", [1.0]), tensor("late", [1.0])],
            ["'distance' is missing", "'distnce'"],
        ),
        ([tensor("hour", [1.0, 2.0]), tensor("distance", [1.0]), tensor("late", [1.0])], ["'distance'", "1 rows"]),
        ([tensor("hour", [1.0]), tensor("hour", [1.0])], ["'hour'", "twice"]),
        ([tensor("hour", ["x"], "BYTES"), tensor("distance", [1.0]), tensor("late", [1.0])], ["'hour'", "BYTES"]),
        ([tensor("hour", ["7"]), tensor("distance", [1.0])], ["'hour'", "FP64", "'7'"]),
        ([tensor("hour", [1.5], "INT64")], ["'hour'", "INT64", "1.5"]),
        ([tensor("hour", [None], "INT64")], ["'hour'", "INT64", "None"]),
        ([tensor("hour", [2**70], "INT64")], ["'hour'"]),
        ([tensor("hour", [2], "BOOL")], ["'hour'", "BOOL", "2"]),
        ([tensor("hour", [1.0, 2.0], shape=[3])], ["'hour'", "2 values", "[3]"]),
        ([tensor("hour", [1.0, 2.0], shape=[1, 2]), tensor("late", [1.0])], ["'hour'", "[1, 2]"]),
        ([tensor("hour", [[1.0], [2.0, 3.0]], shape=[2])], ["'hour'", "regular"]),
        ([tensor("hour", [1.0], "FLOAT")], ["'hour'", "'FLOAT'", "FP64"]),
        ([tensor("hour", [], shape=[0])], ["no rows"]),
        ([tensor("x", [1.0, 2.0], shape=[1, 2])], ["2 columns", "3", "distance"]),
        ([tensor("hour", [float("inf")]), tensor("distance", [1.0]), tensor("late", [1.0])], ["'hour'", "infinite"]),
        ([tensor("key", [b"\xff"], "BYTES")], ["'key'", "UTF-8"]),
        ([tensor("hour", [1.0], shape=[-1])], ["'hour'"]),
    ],
)
def test_what_is_wrong_is_named(tensors, words):
    with pytest.raises(BadRequestError) as caught:
        matrix(columns(tensors, FEATURES), FEATURES)
    for word in words:
        assert word in str(caught.value)
