"""One training on several workers: rank 0 is the step, the others are its companions and run the same function.

Each learns from its share of the training rows, and they meet by what their framework brings for it. Only rank 0's
model counts. Whoever fails or is lost ends the training, with one reason: a framework alone would wait for minutes.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from tradewind_runtime import learning
from tradewind_runtime.checkpoints import Borrowed
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.train import Distributed, TrainConfig
from tradewind_runtime.training import TrainContext

_LOOK = 0.5  # seconds


class Rendezvous(Protocol):
    """How the workers of one framework meet."""

    @property
    def EVEN(self) -> bool:  # noqa: N802 - a constant of a module
        """Whether all must have as many rows."""

    def lead(self, host: str, workers: int) -> AbstractContextManager[dict[str, Any]]:
        """Rank 0 opens the place where they meet; the others are told what this gives."""

    def join(self, where: dict[str, Any], rank: int, workers: int) -> AbstractContextManager[None]:
        """All ranks: what the training function is run in."""


def rendezvous(spec: Distributed) -> Rendezvous:
    """Of a framework."""
    found: Any = importlib.import_module(f"tradewind_runtime.distributed.{spec.framework}")
    return found  # type: ignore[no-any-return]


def share(given: TrainContext, rank: int, spec: Distributed, *, even: bool) -> TrainContext:
    """One worker's: every so manyth of the training rows, all rows to validate on.

    Args:
        given: the whole.
        rank: of the worker.
        spec: how many there are.
        even: all have as many rows; of the last rows, fewer than there are workers, nobody learns.
    """
    total = len(given.train) - (len(given.train) % spec.workers if even else 0)
    mine = given.train.table.take(pa.array(np.arange(rank, total, spec.workers)))
    kept = given.checkpoints
    checkpoints = kept if rank == 0 else Borrowed(kept.documents, kept.folder)
    rows = replace(given.train, table=mine)
    return replace(given, train=rows, rank=rank, workers=spec.workers, checkpoints=checkpoints)


def fit(context: StepContext, config: TrainConfig, given: TrainContext) -> Any:
    """The model: of this process alone, or of all workers.

    Raises:
        StepError: TW589 where they do not come, TW549 where one fails or is lost.
    """
    spec = config.train.distributed
    if spec is None:
        return learning.fit(context, config, given)
    from tradewind_runtime.distributed.leader import led

    meeting = rendezvous(spec)
    own = share(given, 0, spec, even=meeting.EVEN)
    context.log.info("training on %d workers, %d rows each", spec.workers, len(own.train))
    with led(context, spec, meeting):
        model = learning.fit(context, config, own)
    given.reported = own.reported
    return model
