"""Keras on several workers: the steps of one worker, by TensorFlow's own strategy; and a lost one is told."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config

from tradewind_runtime import artefacts
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.frameworks import predictor
from tradewind_runtime.launchers.process import Launch
from tradewind_runtime.training import matrix

#: It knows nothing of workers; the last batch of an epoch is of 40 rows. Rank 1 says where it is, and may be killed.
MODEL = """
import os, pathlib, time
import keras
import numpy as np
from tradewind_runtime.frameworks.keras import loads

def train(ctx):
    folder = ctx.params.get("folder")
    if ctx.params.get("fails") == ctx.rank:
        raise ValueError("of my own")
    keras.utils.set_random_seed(ctx.seed)
    x, y = (part.astype(np.float32) for part in ctx.train.numpy())
    valid = tuple(part.astype(np.float32) for part in ctx.valid.numpy())
    latest = ctx.checkpoints.latest()
    done, model = (latest[0], loads(latest[1])) if latest else (0, network())
    def wait(epoch, logs):
        if folder and epoch == 1:
            (pathlib.Path(folder) / f"{ctx.rank}-{os.getpid()}").touch()
            while not (pathlib.Path(folder) / "go").exists():
                time.sleep(0.02)
    model.fit(x, y, batch_size=96, shuffle=False, validation_data=valid, initial_epoch=done, epochs=3, verbose=0,
              callbacks=[ctx.keras_callback(), keras.callbacks.LambdaCallback(on_epoch_end=wait)])
    return model

def network():
    model = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(8, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ])
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="binary_crossentropy", metrics=["AUC"])
    return model
"""


@pytest.fixture
def lake(tmp_path):
    root = tmp_path / "a lake"
    return root, store(root, filled())


def filled():
    """Without nulls: a network would need a layer for them."""
    table = rows()
    for name in ("a", "b", "noise"):
        values = np.nan_to_num(table[name].to_numpy(zero_copy_only=False))
        table = table.set_column(table.schema.get_field_index(name), name, [values])
    return table


def run(lake, workers, lines=None, refresh=None, **params):
    """In a process of its own: TensorFlow is told of its cluster before it computes anything."""
    root, ref = lake
    config = train_config(function="mine:train", params=params)
    if workers > 1:
        config["train"]["distributed"] = {"workers": workers, "framework": "tensorflow"}
    settings = {"threads": 1, "checkpoint_seconds": 0}
    wanted = request(root, "train", config, inputs={"features": ref}, code=archive(root, mine=MODEL), settings=settings)
    wanted = wanted.model_copy(update={"refresh": refresh})
    said = [].append if lines is None else lines.append
    return Launch(wanted, Documents(root.as_uri()), sys.executable, on_line=said).run()


def answers(lake, result):
    found = predictor(artefacts.load(Documents(lake[0].as_uri()), result.outputs["model"].digest))
    return found.predict(matrix(filled(), ("a", "b", "noise", "flag")))


def test_two_workers_take_the_steps_of_one(lake):
    one, two = run(lake, 1), run(lake, 2)
    assert two.metrics["rows_train"] == 1000
    np.testing.assert_allclose(answers(lake, one), answers(lake, two), atol=1e-5)
    for name in ("valid_roc_auc", "valid_log_loss", "last_loss", "last_val_loss", "last_AUC"):
        assert two.metrics[name] == pytest.approx(one.metrics[name], abs=1e-4), name


def test_a_killed_worker_is_told_and_the_retry_goes_on(lake, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    killed, lines = [], []

    def kill():
        while not (found := list(marks.glob("1-*"))) or not list(marks.glob("0-*")):
            time.sleep(0.02)
        os.kill(int(Path(found[0]).name.partition("-")[2]), signal.SIGKILL)
        killed.append(time.monotonic())
        (marks / "go").touch()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(StepError, match=r"TW549.*rank 1 of 2 workers was lost: it was killed by SIGKILL"):
        run(lake, 2, folder=str(marks))
    killer.join()
    print(f"told after {time.monotonic() - killed[0]:.1f} s")
    assert time.monotonic() - killed[0] < 30
    result = run(lake, 2, lines, folder=str(marks))
    assert any("going on from the checkpoint after step 2" in line for line in lines)
    whole = run(lake, 2, refresh="whole", folder=str(marks))
    assert whole.outputs == result.outputs, "as if nobody had been killed, and the same bits again"


@pytest.mark.parametrize(
    ("rank", "said"), [(0, "TW550.*of my own"), (1, "TW549.*rank 1 of 2 workers failed.*of my own")]
)
def test_a_workers_own_error_is_told(lake, rank, said):
    with pytest.raises(StepError, match=said) as caught:
        run(lake, 2, fails=rank)
    assert caught.value.problems[0].file == "include/models/mine.py"
