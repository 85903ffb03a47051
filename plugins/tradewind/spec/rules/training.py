"""What training, sweeping and promoting ask of each other."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.errors import Problem, nearest
from tradewind.spec.places import Place
from tradewind.spec.rules.view import View, rule
from tradewind_runtime.contract.promote import METRICS
from tradewind_runtime.contract.tune import Choice


@rule
def metrics(view: View) -> Iterator[Problem]:
    """Metrics that the task has, wherever one is named."""
    task = view.draft.train.task if view.draft.train else None
    if task is None:
        return
    known = METRICS[task]
    named: list[tuple[Place, str, bool]] = []
    if view.draft.promote:
        named += [(view.at("promote", "when", name), name, True) for name in view.draft.promote.when]
    if tune := view.draft.tune:
        named.append((view.at("tune", tune.tuner, "metric"), tune.search.metric, False))
    named += [
        (view.at("evaluate", "metrics", index), name, False)
        for index, name in enumerate(view.draft.evaluate.metrics or ())
    ]
    for place, name, is_key in named:
        if name not in known:
            everywhere = {metric for of in METRICS.values() for metric in of}
            hint = f"set train.task, which is {task}, or choose another metric" if name in everywhere else None
            yield place.problem(
                "TW123",
                f"a {task} task has no metric {name!r}",
                at=place.key if is_key else None,
                got=name,
                expected=", ".join(known),
                suggestion=nearest(name, known),
                fix=hint,
            )


@rule
def direction(view: View) -> Iterator[Problem]:
    """A sweep looks for the better end of its metric."""
    if not (view.draft.tune and view.draft.train):
        return
    tune, sweep = view.draft.tune, view.draft.tune.search
    more_is_better = METRICS[view.draft.train.task].get(sweep.metric)
    right = {True: "maximize", False: "minimize", None: sweep.direction}[more_is_better]
    if sweep.direction != right:
        place = view.at("tune", tune.tuner, "direction")
        yield place.problem(
            "TW126",
            f"of {sweep.metric}, {'more' if more_is_better else 'less'} is better",
            got=sweep.direction,
            expected=right,
            fix=f"direction: {right}",
        )


@rule
def ranges(view: View) -> Iterator[Problem]:
    """Ends of ranges and thresholds in order."""
    tune = view.draft.tune
    for name, range_ in (tune.search.space if tune else {}).items():
        if isinstance(range_, Choice):
            continue
        kind = next(iter(type(range_).model_fields))
        low, high = getattr(range_, kind)
        if low >= high:
            assert tune is not None
            yield view.at("tune", tune.tuner, "space", name, kind).problem(
                "TW125",
                f"the low end {low:g} is not below the high end {high:g}",
                got=[low, high],
                expected="[low, high]",
            )
    for name, threshold in (view.draft.promote.when if view.draft.promote else {}).items():
        if threshold.min is not None and threshold.max is not None and threshold.min > threshold.max:
            yield view.at("promote", "when", name, "min").problem(
                "TW124", f"min {threshold.min:g} is above max {threshold.max:g}: nothing can pass", got=threshold.min
            )


@rule
def prune(view: View) -> Iterator[Problem]:
    """A trial can be stopped early where it learns step by step."""
    tune, train = view.draft.tune, view.draft.train
    if not (tune and tune.search.prune and train and train.estimator):
        return
    if not train.estimator.startswith("xgboost."):
        place = view.at("tune", tune.tuner, "prune")
        yield place.problem(
            "TW133",
            f"{train.estimator} has no steps at which a trial could be stopped",
            at=place.key,
            got="prune",
            expected="an estimator of xgboost, or a function that reports",
            fix="remove prune, or choose another estimator",
        )


@rule
def distributed(view: View) -> Iterator[Problem]:
    """Of the estimators, XGBoost's learn on several workers, by its own collective."""
    train = view.draft.train
    if train is None or train.distributed is None or train.estimator is None:
        return
    own = train.estimator.partition(".")[0]
    if own != train.distributed.framework:
        place = view.at("train", "distributed", "framework")
        yield place.problem(
            "TW134",
            f"{train.estimator} does not learn on several workers"
            + (f" by {train.distributed.framework}" if own == "xgboost" else ""),
            got=train.distributed.framework,
            expected="xgboost, with an estimator of xgboost; or a function",
            fix="framework: xgboost" if own == "xgboost" else "remove distributed, or choose another estimator",
        )


@rule
def estimator(view: View) -> Iterator[Problem]:
    """Classifiers classify."""
    train = view.draft.train
    if train is None or train.estimator is None:
        return
    regressor = train.estimator.endswith(("Regressor", "Ridge"))
    if regressor != (train.task == "regression"):
        place = view.at("train", "estimator")
        yield place.problem(
            "TW127",
            f"{train.estimator} is not for a {train.task} task",
            got=train.estimator,
            expected="a regressor" if train.task == "regression" else "a classifier",
            fix=f"task: {'regression' if regressor else 'binary'}, or another estimator",
        )


@rule
def label_apart(view: View) -> Iterator[Problem]:
    """The label is not learned from."""
    train = view.draft.train
    for field in ("features", "exclude") if train else ():
        for index, name in enumerate(getattr(train, field) or ()):
            if train is not None and name == train.label:
                yield view.at("train", field, index).problem(
                    "TW128",
                    f"the label {name!r} is never a feature"
                    + (": remove it" if field == "features" else ", so it need not be excluded"),
                    got=name,
                    severity="error" if field == "features" else "warning",
                )
