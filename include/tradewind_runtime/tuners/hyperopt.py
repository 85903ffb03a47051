"""Hyperopt's TPE, random and annealed search, by ask and tell instead of its own loop."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from hyperopt import STATUS_FAIL, STATUS_OK, anneal, hp, rand, tpe
from hyperopt.base import JOB_STATE_DONE, Domain, Trials

from tradewind_runtime.contract.sweep import Trial
from tradewind_runtime.contract.tune import Choice, FloatRange, Hyperopt, IntRange, LogRange
from tradewind_runtime.tuners import BY_CHANCE, plain, raw, seed_of

logging.getLogger("hyperopt").setLevel(logging.WARNING)  # it tells of each proposal
_ALGORITHMS = {
    "tpe": partial(tpe.suggest, n_startup_jobs=BY_CHANCE),
    "random": rand.suggest,
    "anneal": anneal.suggest,
}


def tuner(spec: Hyperopt) -> HyperoptTuner:
    """A sweep's tuner, told nothing yet."""
    return HyperoptTuner(spec)


class HyperoptTuner:
    """Knows no trials that are pending, and none that are pruned: such a one is told as its last value."""

    def __init__(self, spec: Hyperopt) -> None:
        self._spec = spec
        self._domain = Domain(lambda _: 0.0, {name: _expression(name, one) for name, one in spec.space.items()})
        self._trials = Trials()
        self._suggest = _ALGORITHMS[spec.algorithm]

    def ask(self, index: int, pending: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:  # noqa: ARG002
        """Parameters, as plain JSON values."""
        self._trials.refresh()
        proposal = self._suggest([index], self._domain, self._trials, seed_of(self._spec.seed, index))[0]
        found = {name: values[0] for name, values in proposal["misc"]["vals"].items()}
        return {name: plain(one, found[name]) for name, one in self._spec.space.items()}

    def tell(self, trial: Trial) -> None:
        """Hyperopt minimises, so what is to be maximised is told with the other sign."""
        score = trial.score
        result = {"status": STATUS_FAIL} if score is None else {"status": STATUS_OK, "loss": -self._spec.sign * score}
        space, index = self._spec.space, trial.index
        misc = {
            "tid": index,
            "cmd": self._domain.cmd,
            "workdir": None,
            "idxs": {name: [index] for name in space},
            "vals": {name: [raw(one, trial.params[name])] for name, one in space.items()},
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
