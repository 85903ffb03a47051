"""TensorFlow: MultiWorkerMirroredStrategy over all workers, in whose scope the function runs.

Every batch is cut into as many parts as there are workers, so that each step is the step of one worker with that batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tradewind_runtime.distributed import Deal

NEEDS = ("tensorflow", "keras")
#: The strategy itself gives each worker its part of a batch.
DEAL: Deal = "all"
ALONE = False


@contextmanager
def lead(addresses: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Nothing to open: each worker serves its own address, and must know all of them before it begins."""
    yield {"worker": list(addresses)}


@contextmanager
def join(where: dict[str, Any], rank: int, workers: int) -> Iterator[None]:
    """The strategy's scope, so that a function needs nothing of its own: what it builds and fits is of all workers."""
    del workers
    os.environ["TF_CONFIG"] = json.dumps({"cluster": where, "task": {"type": "worker", "index": rank}})
    with _strategy().scope():
        yield


def released(model: Any) -> Any:
    """The model without its strategy, which would ask the others for their part of each answer."""
    from tradewind_runtime.frameworks import keras

    return keras.reloaded(model) if keras.saves(model) else model


def _strategy() -> Any:
    import tensorflow as tf

    class Strategy(tf.distribute.MultiWorkerMirroredStrategy):  # type: ignore[misc]
        """With a `reduce` as Keras uses it: on a whole batch, and along an axis that numbers do not have."""

        def reduce(self, reduce_op: Any, value: Any, axis: int | None = None) -> Any:
            one = super().reduce

            def reduced(part: Any) -> Any:
                first = self.experimental_local_results(part)[0]
                return one(reduce_op, part, axis if first.shape.rank else None)

            return tf.nest.map_structure(reduced, value)

    return Strategy()
