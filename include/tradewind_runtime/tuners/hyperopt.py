"""Hyperopt's TPE, random and annealed search, by ask and tell instead of its own loop."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from hyperopt import STATUS_FAIL, STATUS_OK, anneal, hp, rand, tpe
from hyperopt.base import JOB_STATE_DONE, Domain, Trials

from tradewind_runtime.contract.train import Choice, FloatRange, Hyperopt, IntRange, LogRange

logging.getLogger("hyperopt").setLevel(logging.WARNING)  # it tells of each proposal
#: TPE's first trials, by chance. By itself it has 20, which would be all of a short sweep; were it a share of `trials`,
#: a longer sweep would not take over a shorter one's.
BY_CHANCE = 6
_ALGORITHMS = {
    "tpe": partial(tpe.suggest, n_startup_jobs=BY_CHANCE),
    "random": rand.suggest,
    "anneal": anneal.suggest,
}


def tuner(spec: Hyperopt) -> HyperoptTuner:
    """A sweep's tuner, told nothing yet."""
    return HyperoptTuner(spec)


class HyperoptTuner:
    """Each proposal has a seed of its own, from the sweep's and the trial's number."""

    def __init__(self, spec: Hyperopt) -> None:
        self._spec = spec
        self._domain = Domain(lambda _: 0.0, {name: _expression(name, one) for name, one in spec.space.items()})
        self._trials = Trials()
        self._suggest = _ALGORITHMS[spec.algorithm]

    def ask(self, index: int) -> dict[str, Any]:
        """Parameters, as plain JSON values."""
        seed = int(np.random.SeedSequence([self._spec.seed, index]).generate_state(1)[0] % 2**31)
        self._trials.refresh()
        proposal = self._suggest([index], self._domain, self._trials, seed)[0]
        found = {name: values[0] for name, values in proposal["misc"]["vals"].items()}
        return {name: _plain(self._spec.space[name], found[name]) for name in self._spec.space}

    def tell(self, index: int, params: Mapping[str, Any], score: float | None) -> None:
        """Hyperopt minimises, so what is to be maximised is told with the other sign."""
        sign = -1.0 if self._spec.direction == "maximize" else 1.0
        result = {"status": STATUS_FAIL} if score is None else {"status": STATUS_OK, "loss": sign * score}
        names = list(self._spec.space)
        misc = {
            "tid": index,
            "cmd": self._domain.cmd,
            "workdir": None,
            "idxs": {name: [index] for name in names},
            "vals": {name: [_raw(self._spec.space[name], params[name])] for name in names},
        }
        document = self._trials.new_trial_docs([index], [None], [result], [misc])[0]
        document["state"] = JOB_STATE_DONE
        self._trials.insert_trial_docs([document])


def _expression(name: str, one: Any) -> Any:
    match one:
        case IntRange(int=(low, high)):
            return hp.uniformint(name, low, high)
        case FloatRange(float=(low, high)):
            return hp.uniform(name, low, high)
        case LogRange(log=(low, high)):
            return hp.loguniform(name, np.log(low), np.log(high))
        case Choice():
            return hp.choice(name, list(range(len(one.choice))))
    raise TypeError(one)


def _plain(one: Any, value: Any) -> Any:
    match one:
        case IntRange(int=(low, high)):
            return min(max(int(value), low), high)
        case Choice():
            return one.choice[int(value)]
        case LogRange(log=(low, high)):  # exp(log(x)) may leave the range by a bit
            return min(max(float(value), low), high)
    return float(value)


def _raw(one: Any, value: Any) -> Any:
    return one.choice.index(value) if isinstance(one, Choice) else value
