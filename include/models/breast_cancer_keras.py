"""A small network in Keras. It scales by itself, ends with a probability, and goes on where it was killed."""

from __future__ import annotations

import keras
import numpy as np

from tradewind_runtime.frameworks.keras import loads
from tradewind_runtime.training import TrainContext


def train(ctx: TrainContext) -> keras.Model:
    """The probability that a tumour is benign. `epochs`, `width` and `rate` are this function's own parameters."""
    keras.utils.set_random_seed(ctx.seed)
    x, y = (part.astype(np.float32) for part in ctx.train.numpy())
    valid = tuple(part.astype(np.float32) for part in ctx.valid.numpy())
    latest = ctx.checkpoints.latest()
    done, model = (latest[0], loads(latest[1])) if latest else (0, network(ctx, x))
    with keras.device("gpu:0" if ctx.device == "cuda" else "cpu:0"):
        # Rows keep their order, so that one that goes on sees them as it would have.
        model.fit(
            x,
            y,
            batch_size=64,
            shuffle=False,
            validation_data=valid,
            initial_epoch=done,
            epochs=int(ctx.params.get("epochs", 60)),
            callbacks=[ctx.keras_callback()],
            verbose=0,
        )
    return model


def network(ctx: TrainContext, x: np.ndarray) -> keras.Model:
    """One hidden layer."""
    scaling = keras.layers.Normalization(mean=x.mean(axis=0), variance=x.var(axis=0))
    model = keras.Sequential(
        [
            keras.Input((x.shape[1],)),
            scaling,
            keras.layers.Dense(int(ctx.params.get("width", 32)), activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    rate = float(ctx.params.get("rate", 0.01))
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="binary_crossentropy", metrics=["AUC"])
    return model
