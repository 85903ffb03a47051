"""A model of Keras answers the same after export; code in a model is refused; what it was trained with is kept."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.frameworks import framework_of
from tradewind_runtime.frameworks.keras import dumps, loads

HEADS = {"one probability": (1, "sigmoid"), "two classes": (2, "softmax"), "many classes": (3, "softmax"),
         "values": (1, None)}  # fmt: skip


def network(head: str) -> keras.Model:
    keras.utils.clear_session()
    keras.utils.set_random_seed(7)
    units, activation = HEADS[head]
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Normalization(mean=[0.1] * 4, variance=[2.0] * 4),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(units, activation=activation),
        ]
    )
    model.compile(optimizer="adam", loss="mse")
    model.fit(np.ones((8, 4)), np.ones((8, units)), epochs=1, verbose=0, shuffle=False)
    return model


def files(model: keras.Model, folder: Path) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    framework_of(model).save(model, folder, np.zeros((2, 4)))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("head", HEADS)
def test_a_model_answers_the_same_after_loading(head, tmp_path):
    model = network(head)
    framework = framework_of(model)
    assert framework.NAME == "keras"
    first = files(model, tmp_path / "first")
    x = np.random.default_rng(1).normal(size=(1000, 4))
    ours = framework.wrap(model).predict(x)
    assert files(network(head), tmp_path / "again") == first, "the same training gives the same bytes"
    assert sorted(first) == ["model.keras", "model.onnx"]
    loaded = framework.load(first)
    for count in (1, 5, 1000):
        answer = loaded.predict(x[:count])
        assert answer.shape == ((count, 3) if head == "many classes" else (count,))
        np.testing.assert_allclose(answer, ours[:count], atol=1e-5)


def test_a_state_is_the_same_after_loading():
    model = network("values")
    again = loads(dumps(model))
    # The chance of dropout is no part of what Keras saves.
    states = [[*one.weights, *one.optimizer.variables] for one in (model, again)]
    assert len(states[0]) > 10
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_with_code_in_it_is_told(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x[:, :1])])
    with pytest.raises(StepError, match="TW552") as caught:
        files(model, tmp_path)
    assert "cannot be loaded again" in caught.value.problems[0].message
    assert "Lambda" in str(caught.value.problems[0].got)
