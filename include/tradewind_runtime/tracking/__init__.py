"""Where people watch a sweep: one run for it, one for each trial. A picture only: the lake holds the state.

So nothing here may hold up a sweep, or end it. What was missed is told by the next attempt, or at the end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import TracebackType
from typing import Protocol, Self

from tradewind_runtime.contract.sweep import Trial
from tradewind_runtime.trials import Trials

log = logging.getLogger("tradewind")
PATIENCE = 60.0  # seconds for what is still to be told when the sweep is over


@dataclass(frozen=True)
class Summary:
    """What is said of a sweep that is over."""

    failed: bool = False
    values: Mapping[str, float] = field(default_factory=dict)
    ended_by: str = ""


class Board(Protocol):
    """What a tracking system offers for one sweep. Each call may be repeated: twice is as once."""

    def show(self, trial: Trial) -> None:
        """A trial that is over."""

    def close(self, summary: Summary) -> None:
        """The sweep is over."""


class Tracker:
    """Tells a board, in the order in which it is told itself, from a thread of its own.

    Args:
        uri: of MLflow; None: nobody watches.
        trials: of the sweep.
    """

    def __init__(self, uri: str | None, trials: Trials) -> None:
        self._uri, self._trials = uri, trials
        self._queue: SimpleQueue[Trial | Summary | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def __enter__(self) -> Self:
        if self._uri is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._uri is None:
            return
        self._queue.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            log.warning("MLflow is slow: what it has of this sweep is not all")

    def tell(self, told: Trial | Summary) -> None:
        """A trial is over, or the sweep is."""
        if self._uri is not None:
            self._queue.put(told)

    def _work(self) -> None:
        try:
            from tradewind_runtime.tracking.mlflow import board

            assert self._uri is not None
            found: Board = board(self._uri, self._trials)
            while (told := self._queue.get()) is not None:
                if isinstance(told, Trial):
                    found.show(told)
                else:
                    found.close(told)
        except Exception as error:  # whatever it is, the sweep goes on
            log.warning("the sweep goes on without MLflow: %s", str(error).strip() or type(error).__name__)
