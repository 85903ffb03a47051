"""When a trial is given up before its end: how good it is at a step, beside the others that came as far.

Each trial decides for itself, wherever it runs, from what the others left in the lake: one document for a trial and a
rung, with its value and the decision, created once. So a trial that is tried again after a kill is stopped where it
was stopped, and not where it was not. A rung's folder belongs to all trials that differ only in their parameters: a
longer sweep compares with the shorter one's. Which others have come as far is a matter of time, so a sweep that
prunes may not end the same way when all of it is done anew.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.sweep import Rung
from tradewind_runtime.contract.train import TrainConfig
from tradewind_runtime.contract.tune import Prune, Search
from tradewind_runtime.documents import Documents


class Pruned(BaseException):
    """A trial is to end here. No `Exception`: training code that survives those is not meant to survive this."""


def steps(prune: Prune) -> Iterator[int]:
    """The rungs: steps at which trials are compared, without an end."""
    if prune.asha is not None:
        asha = prune.asha
        return (asha.min_steps * asha.factor**level for level in itertools.count())
    assert prune.median is not None, "the contract wants one of both"
    return itertools.count(prune.median.warmup, prune.median.interval)


def why_stop(search: Search, value: float, others: Sequence[float]) -> str | None:
    """Why a trial of that value does not go on from a rung that the others have come to."""
    assert search.prune is not None
    shown = f"{search.metric} {value:.5g}"
    if (rule := search.prune.asha) is not None:
        going_on = max((len(others) + 1) // rule.factor, 1)
        better = sum(search.sign * other > search.sign * value for other in others)
        return f"{shown}: {better} of {len(others)} are better, {going_on} may go on" if better >= going_on else None
    assert search.prune.median is not None
    if len(others) < search.prune.median.trials:
        return None
    middle = statistics.median(others)
    worse = search.sign * value < search.sign * middle
    return f"{shown} is worse than the median {middle:.5g} of {len(others)}" if worse else None


@dataclass
class Pruning:
    """One trial's climb.

    Args:
        search: with `prune`.
        rungs: of this trial and those that it is compared with.
        trial: its name among them.
        measure: the metrics of a model that is not finished.
    """

    search: Search
    rungs: Rungs
    trial: str
    measure: Callable[[Any], Mapping[str, float]] = lambda _model: {}
    stopped: Rung | None = field(default=None, init=False)
    _ahead: Iterator[int] = field(init=False, repr=False)
    _next: int = field(init=False)

    def __post_init__(self) -> None:
        assert self.search.prune is not None
        self._ahead = steps(self.search.prune)
        self._next = next(self._ahead)

    def due(self, step: int) -> bool:
        """Whether a report of that step is looked at."""
        return step >= self._next

    def look(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take a report.

        Raises:
            Pruned: where the trial is not to go on.
        """
        value = metrics.get(self.search.metric, math.nan)
        if self.stopped is None and self.due(step) and math.isfinite(value):
            rung = self._next
            while self.due(step):
                rung, self._next = self._next, next(self._ahead)
            others = self.rungs.others(rung, self.trial)
            mine = Rung(step=step, value=value, stop=why_stop(self.search, value, others))
            found = self.rungs.enter(rung, self.trial, mine)
            self.stopped = found if found.stop is not None else None
        if self.stopped is not None:
            raise Pruned(self.stopped.stop)


@dataclass(frozen=True)
class Rungs:
    """The rungs of all trials that differ only in their parameters."""

    documents: Documents
    folder: str
    seen: dict[str, float] = field(default_factory=dict, compare=False, repr=False)

    def others(self, rung: int, trial: str) -> list[float]:
        """What other trials reached there. A document never changes, so each is read once."""
        mine = self._path(rung, trial)
        paths = [path for path in self.documents.names(mine.rpartition("/")[0]) if path != mine]
        for path in paths:
            if path not in self.seen and (found := self.documents.get_model(path, Rung)) is not None:
                self.seen[path] = found.value
        return [self.seen[path] for path in paths if path in self.seen]

    def enter(self, rung: int, trial: str, mine: Rung) -> Rung:
        """Say what was reached and decided there; what an earlier attempt of the trial said, where there was one."""
        path = self._path(rung, trial)
        self.documents.create_model(path, mine)
        found = self.documents.get_model(path, Rung)
        assert found is not None, "what exists can be read"
        return found

    def _path(self, rung: int, trial: str) -> str:
        return f"{self.folder}/{rung:08d}/{trial}.json"


def pruning(request: StepRequest, config: TrainConfig, documents: Documents) -> Pruning | None:
    """Of a trial's request; None where its sweep has no `prune`."""
    assert config.tune is not None
    search = config.tune.search
    if search.prune is None:
        return None
    where = folder(request, config)
    return Pruning(search, Rungs(documents, where, _read(documents.root, where)), request.fingerprint)


def folder(request: StepRequest, config: TrainConfig) -> str:
    """Where a trial's rungs lie: named by its request without its parameters."""
    shared = config.model_copy(update={"trial_params": None}).model_dump(mode="json", by_alias=True)
    return f"rungs/{request.model_copy(update={'config': shared}).fingerprint}"


@lru_cache(maxsize=1)
def _read(_root: str, _folder: str) -> dict[str, float]:
    """A warm worker's next trial knows what the last one has read."""
    return {}
