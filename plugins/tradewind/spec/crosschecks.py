"""What blocks ask of each other: a registry of small checks over a pipeline, or over what is right of it.

A block that is wrong by itself is left out, so that the others are checked all the same and every problem is told at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from tradewind.errors import Problem, nearest
from tradewind.spec.expectations import EXPECTATIONS
from tradewind.spec.nodes import Mapping, plain, scalars
from tradewind.spec.params import ParamBlock
from tradewind.spec.pipeline import Pipeline
from tradewind.spec.places import Path as YamlPath
from tradewind.spec.places import Place, find
from tradewind.spec.schedule import checked_cron
from tradewind.spec.usercode import function_problem, job_problem
from tradewind_runtime.contract.base import Name, Slug
from tradewind_runtime.contract.promote import METRICS
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.contract.train import Choice

#: What stands in braces in a text, such as {params.max_rounds}.
_WORD = re.compile(r"\{([A-Za-z_]+)\.([A-Za-z0-9_.-]+)\}")
_WINDOW = ("start", "end", "date")
#: Blocks in which words are filled in when a step is asked for.
_FILLED = ("sources", "checks", "transform", "tune", "train", "evaluate", "score")

#: Blocks of several named parts: one that is wrong does not hide the others.
_BY_NAME = ("sources", "checks", "params")


class Draft(Pipeline):
    """A pipeline from which wrong blocks may be missing."""

    version: Literal[1] = 1
    pipeline: Slug = "draft"
    sources: dict[Name, Source] = Field(default_factory=dict)
    params: dict[Name, ParamBlock] = Field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """What a check looks at."""

    draft: Draft
    node: Mapping
    root: Path | None  # the project; None: user code is not looked at

    def at(self, *path: str | int) -> Place:
        """The place of a value."""
        return find(self.node, path)

    def given(self, *path: str) -> bool:
        """Whether the text has it, right or wrong."""
        place = self.at(*path)
        return len(place.path) == len(path) and plain(place.node) is not None

    def names(self, block: str) -> list[str]:
        """The names in a block, those of wrong parts too."""
        found = plain(self.at(block).node) if self.given(block) else {}
        return sorted(found) if isinstance(found, dict) else []


Check = Callable[[View], Iterator[Problem]]
CHECKS: list[Check] = []


def _check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def crosscheck(node: Mapping, root: Path | None) -> list[Problem]:
    """All that is wrong between the blocks of a text, defaults merged in; `root` is the project, for its user code."""
    view = View(_draft(plain(node)), node, root)
    return [problem for check in CHECKS for problem in check(view)]


def _draft(data: dict[str, Any]) -> Draft:
    for _ in range(len(data) + 1):
        try:
            return Draft.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                _prune(data, detail["loc"])
    return Draft()


def _prune(data: dict[str, Any], loc: tuple[str | int, ...]) -> None:
    block = data.get(str(loc[0])) if loc else None
    if loc and loc[0] in _BY_NAME and len(loc) > 1 and isinstance(block, dict):
        block.pop(str(loc[1]), None)
    elif loc:
        data.pop(str(loc[0]), None)


# Blocks that need others --------------------------------------------------------------------------

_NEEDS = {
    "tune": ("train",),
    "evaluate": ("train",),
    "promote": ("train",),
    "deploy": ("promote",),
    "score": ("promote",),
    "monitor": ("deploy",),
}


@_check
def needs(view: View) -> Iterator[Problem]:
    """A block without what it works on."""
    for block, others in _NEEDS.items():
        for other in others:
            if view.given(block) and not view.given(other) and view.at(block).node.mark.file == view.node.mark.file:
                place = view.at(block)
                yield place.problem(
                    "TW122",
                    f"{block} needs {other}, which is not there",
                    at=place.key,
                    expected=f"a block {other}",
                    fix=f"add {other}, or remove {block}",
                )
    deploy = view.draft.deploy
    if view.draft.monitor and deploy and not deploy.capture:
        place = view.at("deploy", "capture")
        yield place.problem(
            "TW122",
            "monitor looks at captured requests, and capture is off",
            at=place.key,
            got=False,
            expected="true",
            fix="remove capture, or monitor",
        )


@_check
def one_table(view: View) -> Iterator[Problem]:
    """A model learns from one table."""
    names = view.names("sources")
    if len(names) > 1 and view.given("train") and not view.given("transform"):
        place = view.at("sources")
        yield place.problem(
            "TW121",
            f"{len(names)} sources and no transform to make one table of them",
            at=place.key,
            got=", ".join(names),
            expected="a block transform",
            fix="add transform: {spark: …}, {sql: …} or {python: …}",
        )


@_check
def checked_sources(view: View) -> Iterator[Problem]:
    """Checks are of sources."""
    sources = view.names("sources")
    for name in view.names("checks"):
        if sources and name not in sources:
            place = view.at("checks", name)
            yield place.problem(
                "TW120",
                f"there is no source {name!r} to check",
                at=place.key,
                got=name,
                expected=", ".join(sources),
                suggestion=nearest(name, sources),
            )


@_check
def expectations(view: View) -> Iterator[Problem]:
    """Expectations that the library has, with the arguments that they cannot do without."""
    for source, suite in view.draft.checks.items():
        for index, one in enumerate(suite):
            place = view.at("checks", source, index, "name")
            if one.name not in EXPECTATIONS:
                yield place.problem(
                    "TW145",
                    f"Great Expectations has no {one.name!r}",
                    at=place.key,
                    got=one.name,
                    expected="a core expectation",
                    suggestion=nearest(one.name, EXPECTATIONS),
                )
                continue
            arguments = {"description", "notes", "meta", *EXPECTATIONS[one.name]}
            for argument in one.arguments:
                if argument not in arguments:
                    below = view.at("checks", source, index, one.name, argument)
                    yield below.problem(
                        "TW110",
                        f"{one.name} has no argument {argument!r}",
                        at=below.key,
                        got=argument,
                        expected=", ".join(sorted({*arguments, "severity"})),
                        suggestion=nearest(argument, {*arguments, "severity"}),
                    )
            for argument, required in EXPECTATIONS[one.name].items():
                if required and argument not in one.arguments:
                    yield place.problem(
                        "TW111",
                        f"{one.name} needs {argument!r}",
                        at=place.key,
                        expected=argument,
                        fix=f"add {argument}: …",
                    )


@_check
def table_names(view: View) -> Iterator[Problem]:
    """Every source gives tables named after it, and the pipeline has some of its own."""
    sources = view.names("sources")
    taken = {"features": "the transform's table"}
    taken |= {f"{name}{end}": f"a table of the source {name}" for name in sources for end in ("_raw", "_quarantine")}
    if view.draft.score:
        output = view.draft.score.output
        if output in taken or output in sources:
            place = view.at("score", "output")
            yield place.problem(
                "TW129", f"{output!r} is {taken.get(output, 'a source')} already", at=place.key, got=output
            )
        taken[output] = "the predictions' table"
        table = view.draft.score.table
        if table not in ("features", *sources):
            yield view.at("score", "table").problem(
                "TW128",
                f"there is no table {table!r} to score",
                got=table,
                expected=", ".join(("features", *sources)),
                suggestion=nearest(table, ("features", *sources)),
            )
    for name in sources:
        if name in taken and (name != "features" or view.given("train") or view.given("transform")):
            place = view.at("sources", name)
            yield place.problem(
                "TW129",
                f"a source cannot be called {name!r}: that is {taken[name]}",
                at=place.key,
                got=name,
                fix="choose another name",
            )


# Training -----------------------------------------------------------------------------------------


@_check
def metrics(view: View) -> Iterator[Problem]:
    """Metrics that the task has, wherever one is named."""
    task = view.draft.train.task if view.draft.train else None
    if task is None:
        return
    known = METRICS[task]
    named: list[tuple[Place, str, bool]] = []
    if view.draft.promote:
        named += [(view.at("promote", "when", name), name, True) for name in view.draft.promote.when]
    if view.draft.tune:
        named.append((view.at("tune", "hyperopt", "metric"), view.draft.tune.hyperopt.metric, False))
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


@_check
def direction(view: View) -> Iterator[Problem]:
    """A sweep looks for the better end of its metric."""
    if not (view.draft.tune and view.draft.train):
        return
    sweep = view.draft.tune.hyperopt
    more_is_better = METRICS[view.draft.train.task].get(sweep.metric)
    right = {True: "maximize", False: "minimize", None: sweep.direction}[more_is_better]
    if sweep.direction != right:
        place = view.at("tune", "hyperopt", "direction")
        yield place.problem(
            "TW126",
            f"of {sweep.metric}, {'more' if more_is_better else 'less'} is better",
            got=sweep.direction,
            expected=right,
            fix=f"direction: {right}",
        )


@_check
def ranges(view: View) -> Iterator[Problem]:
    """Ends of ranges and thresholds in order."""
    for name, range_ in (view.draft.tune.hyperopt.space if view.draft.tune else {}).items():
        if isinstance(range_, Choice):
            continue
        kind = next(iter(type(range_).model_fields))
        low, high = getattr(range_, kind)
        if low >= high:
            yield view.at("tune", "hyperopt", "space", name, kind).problem(
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


@_check
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


@_check
def columns(view: View) -> Iterator[Problem]:
    """The label is not learned from; and where columns are declared and nothing changes them, they are known."""
    train, draft = view.draft.train, view.draft
    if train is None:
        return
    for field in ("features", "exclude"):
        for index, name in enumerate(getattr(train, field) or ()):
            if name == train.label:
                yield view.at("train", field, index).problem(
                    "TW128",
                    f"the label {name!r} is never a feature"
                    + (": remove it" if field == "features" else ", so it need not be excluded"),
                    got=name,
                    severity="error" if field == "features" else "warning",
                )
    if view.given("transform") or len(view.names("sources")) != 1 or len(draft.sources) != 1:
        return
    known = next(iter(draft.sources.values())).columns
    named = [(view.at("train", "label"), train.label), (view.at("split", "time"), draft.split.time)]
    named += [
        (view.at("train", field, index), name)
        for field in ("features", "exclude")
        for index, name in enumerate(getattr(train, field) or ())
    ]
    for place, column in named:
        if known is not None and column is not None and column not in known:
            yield place.problem(
                "TW128",
                f"the source has no column {column!r}",
                got=column,
                expected=", ".join(known),
                suggestion=nearest(column, known),
            )


# Words, schedules, user code ----------------------------------------------------------------------


@_check
def words(view: View) -> Iterator[Problem]:
    """What stands in braces stands for something."""
    params = view.names("params")
    for path, scalar in scalars(view.node):
        if not isinstance(scalar.value, str) or path[0] in ("description", "params"):
            continue
        place = Place(path, scalar, scalar.mark)
        for match in _WORD.finditer(scalar.value):
            yield from _word(view, place, match, params)


def _word(view: View, place: Place, match: re.Match[str], params: list[str]) -> Iterator[Problem]:
    kind, name = match.groups()
    path: YamlPath = place.path
    if kind == "params" and name not in params:
        yield place.problem(
            "TW130",
            f"there is no param {name!r}",
            got=match[0],
            expected=", ".join(params) or "a block params",
            suggestion=nearest(name, params),
            fix=f"add it: params: {{{name}: …}}",
        )
    elif kind == "window" and name not in _WINDOW:
        yield place.problem(
            "TW131",
            f"a window has no {name!r}",
            got=match[0],
            suggestion=nearest(name, _WINDOW),
            expected=", ".join(f"{{window.{word}}}" for word in _WINDOW),
        )
    elif kind not in ("params", "window"):
        yield place.problem(
            "TW131",
            f"{match[0]} stands for nothing",
            got=match[0],
            expected="{params.NAME} or {window.start}",
            suggestion=nearest(kind, ("params", "window")),
        )
    elif path[0] not in _FILLED:
        yield place.problem(
            "TW131", f"{match[0]} is not filled in here", got=match[0], expected=f"a value of {', '.join(_FILLED)}"
        )
    elif kind == "window" and name == "date" and path[2:] != ("objects", "uri"):
        yield place.problem(
            "TW131",
            "{window.date} stands for every date of the window, in an objects source's uri only",
            got=match[0],
            expected="{window.start} or {window.end}",
        )


@_check
def schedules(view: View) -> Iterator[Problem]:
    """Cron expressions, and spans in order."""
    draft = view.draft
    crons = [
        (("schedule", "cron"), draft.schedule.cron if draft.schedule else None),
        (("monitor", "schedule"), draft.monitor.schedule if draft.monitor else None),
        (("score", "schedule"), draft.score.schedule if draft.score else None),
    ]
    for path, cron in crons:
        try:
            checked_cron(cron or "@daily")
        except ValueError as error:
            yield view.at(*path).problem("TW146", str(error), got=cron, fix='such as "@daily" or "0 6 * * *"')
    schedule = draft.schedule
    if schedule is None:
        return
    if schedule.start and schedule.end and schedule.start > schedule.end:
        yield view.at("schedule", "end").problem(
            "TW147",
            f"it ends on {schedule.end}, before it starts on {schedule.start}",
            got=str(schedule.end),
            expected=f"{schedule.start} or later",
        )
    for index, asset in enumerate(schedule.after):
        own = (
            f"tradewind://table/{draft.pipeline}/",
            f"tradewind://model/{draft.promote.model if draft.promote else ''}",
        )
        if asset.startswith(own[0]) or asset == own[1]:
            yield view.at("schedule", "after", index).problem(
                "TW148",
                "a pipeline cannot wait for what it makes itself",
                got=asset,
                expected="a table or model of another pipeline",
            )


@_check
def defaults_of_params(view: View) -> Iterator[Problem]:
    """A run that nobody starts is given nothing."""
    wakes = view.given("schedule") or (view.draft.monitor is not None and view.draft.monitor.then == "retrain")
    for name, param in view.draft.params.items():
        if wakes and param.required:
            place = view.at("params", name)
            why = "the pipeline starts by itself" if view.given("schedule") else "drift starts the pipeline"
            yield place.problem(
                "TW132",
                f"{why}, and {name!r} has no default",
                at=place.key,
                expected="a default",
                fix="add default: …, or optional: true",
            )


@_check
def user_code(view: View) -> Iterator[Problem]:
    """Functions and jobs are there. Their files are read, never imported."""
    if view.root is None:
        return
    draft = view.draft
    functions = [
        (("train", "function"), draft.train.function if draft.train else None),
        (
            ("transform", "python", "function"),
            draft.transform.python.function if draft.transform and draft.transform.python else None,
        ),
    ]
    for path, function in functions:
        if function:
            yield from function_problem(view.root, function, view.at(*path))
    if draft.transform and draft.transform.spark:
        yield from job_problem(view.root, draft.transform.spark.job, view.at("transform", "spark", "job"))
