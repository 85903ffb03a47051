"""Where parameters to try come from: one module a system, each with `tuner(spec) -> Tuner`.

A tuner is asked and told; it starts no trial and knows nothing of time. What it proposes depends only on its seed
and on what it was told, so a sweep can be gone on with, and be done again.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np

from tradewind_runtime.contract.sweep import Trial
from tradewind_runtime.contract.tune import Choice, IntRange, LogRange, Range, Tune

#: TPE's first trials, by chance. Hyperopt itself has 20, which would be all of a short sweep; were it a share of
#: `trials`, a longer sweep would not take over a shorter one's.
BY_CHANCE = 6


class Tuner(Protocol):
    """Proposes parameters."""

    def ask(self, index: int, pending: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Parameters of the trial of that number, as plain JSON values.

        Args:
            index: of the trial.
            pending: parameters of trials that were asked for and are not told yet.
        """

    def tell(self, trial: Trial) -> None:
        """How a trial went."""


def tuner(tune: Tune) -> Tuner:
    """The tuner that the YAML names."""
    module = importlib.import_module(f"tradewind_runtime.tuners.{tune.tuner}")
    return cast("Tuner", module.tuner(tune.search))


def seed_of(seed: int, index: int) -> int:
    """Each proposal's own, from the sweep's and the trial's number."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0] % 2**31)


def plain(one: Range, value: Any) -> Any:
    """A tuner's number as the parameter: within its range, or the choice of that index."""
    match one:
        case IntRange(int=(low, high)):
            return min(max(int(value), low), high)
        case Choice():
            return one.choice[int(value)]
        case LogRange(log=(low, high)):  # exp(log(x)) may leave the range by a bit
            return min(max(float(value), low), high)
    return float(value)


def raw(one: Range, value: Any) -> Any:
    """A parameter as the tuner's number."""
    return one.choice.index(value) if isinstance(one, Choice) else value
