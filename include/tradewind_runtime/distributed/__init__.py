"""One training on several workers: rank 0 is the step, the others are its companions and run the same function.

They meet by what their framework brings for it, which also says who learns from which rows. Only rank 0's model
counts. Whoever fails or is lost ends the training, with one reason: a framework alone would wait for minutes.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa

from tradewind_runtime import learning
from tradewind_runtime.checkpoints import Borrowed
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.train import Distributed, TrainConfig
from tradewind_runtime.training import TrainContext

#: Who learns from which rows: each from its share, from a share as large as the others', or all from all of them.
Deal = Literal["shares", "even", "all"]
#: Seconds that a worker with an error stays in the meeting: who fails meanwhile has not failed for it.
HOLD = 1.5


class Rendezvous(Protocol):
    """How the workers of one framework meet."""

    @property
    def NEEDS(self) -> tuple[str, str]:  # noqa: N802 - a constant of a module
        """The module that it is done by, and the extra that brings it."""

    @property
    def DEAL(self) -> Deal:  # noqa: N802
        """Of the training rows."""

    @property
    def ALONE(self) -> bool:  # noqa: N802
        """Whether rank 0 alone runs the function, and the others are there for it."""

    def lead(self, addresses: Sequence[str]) -> AbstractContextManager[dict[str, Any]]:
        """Rank 0 opens the place where they meet; the others are told what this gives.

        Args:
            addresses: HOST:PORT of each rank, where nobody listens yet.
        """

    def join(self, where: dict[str, Any], rank: int, workers: int) -> AbstractContextManager[None]:
        """All ranks: what the training function is run in."""

    def released(self, model: Any) -> Any:
        """Rank 0's model, once the others are gone: what answers without them."""


def host_of(address: str) -> str:
    """Of HOST:PORT."""
    return address.rpartition(":")[0].strip("[]")


def rendezvous(spec: Distributed) -> Rendezvous:
    """Of a framework.

    Raises:
        StepError: TW544 where the step's environment does not have it.
    """
    found: Any = importlib.import_module(f"tradewind_runtime.distributed.{spec.framework}")
    needed("train.distributed.framework", *found.NEEDS)
    return found  # type: ignore[no-any-return]


def needed(path: str, module: str, extra: str) -> None:
    """That the step's environment has a module.

    Args:
        path: of what asks for it in the YAML.
        module: its name.
        extra: that brings it.

    Raises:
        StepError: TW544 where it does not.
    """
    if importlib.util.find_spec(module) is None:
        step = "tune" if path.startswith("tune") else "train"
        raise StepError(
            "TW544", f"{path.removesuffix('.framework')}: the step's environment has no {module}", retryable=False,
            path=path, got=module, expected=f"an environment with the extra {extra!r}",
            fix=f"defaults: {{steps: {{{step}: {{environment: {extra}}}}}}}; `make setup EXTRAS={extra}` makes it",
            docs="guides/training.md",
        )  # fmt: skip


def share(given: TrainContext, rank: int, spec: Distributed, deal: Deal) -> TrainContext:
    """One worker's: its training rows, all rows to validate on.

    Args:
        given: the whole.
        rank: of the worker.
        spec: how many there are.
        deal: of shares, every so manyth row; of even ones, nobody learns from the last rows that are too few for all.
    """
    rows = given.train
    if deal != "all":
        total = len(rows) - (len(rows) % spec.workers if deal == "even" else 0)
        rows = replace(rows, table=rows.table.take(pa.array(np.arange(rank, total, spec.workers))))
    kept = given.checkpoints
    checkpoints = kept if rank == 0 else Borrowed(kept.documents, kept.folder)
    return replace(given, train=rows, rank=rank, workers=spec.workers, checkpoints=checkpoints)


def fit(context: StepContext, config: TrainConfig, given: TrainContext) -> Any:
    """The model: of this process alone, or of all workers.

    Raises:
        StepError: TW544 where the framework is missing, TW589 where they do not come, TW549 where one fails or is lost.
    """
    spec = config.train.distributed
    if spec is None:
        return learning.fit(context, config, given)
    from tradewind_runtime.distributed.leader import led

    meeting = rendezvous(spec)
    own = share(given, 0, spec, meeting.DEAL)
    context.log.info("training on %d workers, %d rows each", spec.workers, len(own.train))
    with led(context, spec, meeting):
        model = learning.fit(context, config, own)
    given.reported = own.reported
    return meeting.released(model)
