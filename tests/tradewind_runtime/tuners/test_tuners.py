"""Both tuners: proposals within the space, by the seed and by what was told, and better with time."""

import json

import pytest

from tradewind_runtime.contract.sweep import Trial
from tradewind_runtime.contract.tune import Optuna, Tune
from tradewind_runtime.tuners import BY_CHANCE, tuner
from tradewind_runtime.tuners.optuna import importance

SPACE = {
    "max_depth": {"int": [2, 6]},
    "eta": {"log": [0.01, 0.5]},
    "subsample": {"float": [0.5, 1.0]},
    "grow_policy": {"choice": ["depthwise", "lossguide", None]},
}
WAYS = [
    ("hyperopt", {"algorithm": "tpe"}),
    ("hyperopt", {"algorithm": "random"}),
    ("hyperopt", {"algorithm": "anneal"}),
    ("optuna", {"sampler": "tpe"}),
    ("optuna", {"sampler": "random"}),
]
each_way = pytest.mark.parametrize(
    ("name", "how"), WAYS, ids=[f"{name}-{next(iter(how.values()))}" for name, how in WAYS]
)


def of(index, params, score, state="done", **more):
    return Trial(index=index, params=params, score=score, state=state, **more)


def ask(name, how, count, scale=1.0, seed=7):
    """Trials that are the better the greater `eta` is; one fails, one is pruned."""
    source = tuner(Tune.model_validate({name: {"space": SPACE, "seed": seed} | how}))
    found = []
    for index in range(count):
        params = source.ask(index)
        found.append(params)
        if index == 3:
            source.tell(of(index, params, None, "failed"))
        elif index == 4:
            source.tell(of(index, params, 0.0, "pruned", step=10))
        else:
            source.tell(of(index, params, scale * params["eta"]))
    return found


@each_way
def test_proposals_depend_on_the_seed_alone_where_the_same_was_told(name, how):
    first = ask(name, how, 20)
    assert first == json.loads(json.dumps(first)) == ask(name, how, 20)
    assert ask(name, how, 20, seed=8) != first
    for params in first:
        assert isinstance(params["max_depth"], int)
        assert 2 <= params["max_depth"] <= 6
        assert 0.01 <= params["eta"] <= 0.5
        assert 0.5 <= params["subsample"] <= 1.0
        assert params["grow_policy"] in SPACE["grow_policy"]["choice"]


@pytest.mark.parametrize(("name", "how"), [("hyperopt", {}), ("optuna", {})])
def test_tpe_begins_by_chance_and_then_looks_where_it_was_good(name, how):
    high, low = (ask(name, how, 50, scale=scale) for scale in (1.0, -1.0))
    # A proposal knows of the failure and of the pruned one, which are no chance's first ones.
    assert high[:BY_CHANCE] == low[:BY_CHANCE]
    assert high[BY_CHANCE + 1 :] != low[BY_CHANCE + 1 :]
    assert sum(p["eta"] for p in high[25:]) > 1.5 * sum(p["eta"] for p in low[25:])


@each_way
def test_a_tuner_that_is_told_at_once_proposes_what_one_does_that_was_there_all_the_time(name, how):
    """As a sweep does that is gone on with: what was proposed before is told, and not asked for again."""
    tune = Tune.model_validate({name: {"space": SPACE} | how})
    told = [of(index, params, params["eta"]) for index, params in enumerate(ask(name, how, 15))]
    here, again = tuner(tune), tuner(tune)
    for trial in told:
        here.ask(trial.index, [trial.params])
        here.tell(trial)
        again.tell(trial)
    assert here.ask(15, [told[0].params]) == again.ask(15, [told[0].params])


def test_optuna_keeps_away_from_what_is_pending():
    told = [of(i, {"x": i / 20}, -abs(i / 20 - 0.5)) for i in range(20)]
    spec = Optuna.model_validate({"space": {"x": {"float": [0, 1]}}})

    def mean(pending):
        apart = []
        for index in range(20, 60):
            source = tuner(Tune(optuna=spec))
            for trial in told:
                source.tell(trial)
            apart.append(abs(source.ask(index, [{"x": 0.5}] * pending)["x"] - 0.5))
        return sum(apart) / len(apart)

    assert mean(8) > 1.2 * mean(0)


@pytest.mark.parametrize("name", ["hyperopt", "optuna"])
def test_importance_finds_the_parameter_that_matters(name):
    search = Tune.model_validate({name: {"space": SPACE}}).search
    params = ask(name, {"algorithm": "random"} if name == "hyperopt" else {"sampler": "random"}, 40)
    trials = [of(i, p, p["eta"] + 0.001 * p["max_depth"]) for i, p in enumerate(params)]
    found = importance(search, trials)
    assert next(iter(found)) == "eta"
    assert found["eta"] > 0.8
    assert sum(found.values()) == pytest.approx(1.0)
    assert found == importance(search, trials)
    assert importance(search, trials[:3]) == {}
    assert importance(search, [of(i, p, 1.0) for i, p in enumerate(params)]) == {}
