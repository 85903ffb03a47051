"""Optuna's TPE and random search. Each proposal comes from a study of its own, of what was told and what is pending.

So a sampler keeps nothing between two proposals that a killed sweep would lose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from tradewind_runtime.contract.sweep import State, Trial
from tradewind_runtime.contract.tune import Choice, FloatRange, IntRange, LogRange, Optuna, Search
from tradewind_runtime.tuners import BY_CHANCE, plain, raw, seed_of

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of each study
_STATES: dict[State, TrialState] = {
    "running": TrialState.RUNNING,
    "done": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def tuner(spec: Optuna) -> OptunaTuner:
    """A sweep's tuner, told nothing yet."""
    return OptunaTuner(spec)


class OptunaTuner:
    """Its TPE keeps away from trials that are pending, as if they had been no good."""

    def __init__(self, spec: Optuna) -> None:
        self._spec = spec
        self._space = _distributions(spec)
        self._told: list[FrozenTrial] = []

    def ask(self, index: int, pending: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Parameters, as plain JSON values."""
        waiting = [_frozen(self._spec, self._space, Trial(index=index, params=dict(params))) for params in pending]
        proposed = _study(self._spec, [*self._told, *waiting], self._sampler(index)).ask(self._space)
        return {name: plain(one, proposed.params[name]) for name, one in self._spec.space.items()}

    def tell(self, trial: Trial) -> None:
        """Optuna tells a pruned trial from one that was finished, by the step that it came to."""
        self._told.append(_frozen(self._spec, self._space, trial))

    def _sampler(self, index: int) -> BaseSampler:
        seed = seed_of(self._spec.seed, index)
        if self._spec.sampler == "random":
            return RandomSampler(seed=seed)
        return TPESampler(n_startup_trials=BY_CHANCE, seed=seed)


def importance(search: Search, trials: Iterable[Trial]) -> dict[str, float]:
    """How much of the scores' variance each parameter explains (fANOVA), highest first; whichever tuner it was.

    None of it where too few trials were finished to say.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    space = _distributions(search)
    whole = [_frozen(search, space, trial) for trial in trials if trial.state == "done"]
    if len(whole) < 4 or len({trial.value for trial in whole}) == 1:
        return {}
    study = _study(search, whole, RandomSampler(seed=0))
    few = FanovaImportanceEvaluator(n_trees=16, max_depth=8, seed=0)  # its 64 deep ones take 40 s for 1000 trials
    return {name: float(value) for name, value in get_param_importances(study, evaluator=few).items()}


def _study(search: Search, trials: Iterable[FrozenTrial], sampler: BaseSampler) -> optuna.Study:
    study = optuna.create_study(direction=search.direction, sampler=sampler)
    study.add_trials(trials)
    return study


def _frozen(search: Search, space: dict[str, BaseDistribution], trial: Trial) -> FrozenTrial:
    return create_trial(
        state=_STATES[trial.state],
        value=trial.score,
        params={name: raw(one, trial.params[name]) for name, one in search.space.items()},
        distributions=space,
        intermediate_values={trial.step: trial.score} if trial.step is not None and trial.score is not None else None,
    )


def _distributions(search: Search) -> dict[str, BaseDistribution]:
    return {name: _distribution(one) for name, one in search.space.items()}


def _distribution(one: Any) -> BaseDistribution:
    match one:
        case IntRange(int=(low, high)):
            return IntDistribution(low, high)
        case FloatRange(float=(low, high)):
            return FloatDistribution(low, high)
        case LogRange(log=(low, high)):
            return FloatDistribution(low, high, log=True)
        case Choice():
            return CategoricalDistribution(list(range(len(one.choice))))
    raise TypeError(one)
