"""Checks of Tradewind's own, and expectations that Great Expectations has, with the arguments that they take."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from tradewind.errors import Problem, nearest
from tradewind.spec.expectations import EXPECTATIONS
from tradewind.spec.nodes import Mapping, Path, Sequence, plain
from tradewind.spec.rules.view import View, rule
from tradewind.spec.translate import problems_of
from tradewind_runtime.contract.checks import DATA_CHECKS, Expectation


@rule
def suites(view: View) -> Iterator[Problem]:
    """Every suite, also those that are wrong in part."""
    for source in view.names("checks"):
        suite = view.at("checks", source).node
        for index, item in enumerate(suite.items if isinstance(suite, Sequence) else ()):
            try:
                one = Expectation.model_validate(plain(item)) if isinstance(item, Mapping) else None
            except ValidationError:
                continue
            if one is not None and one.name in DATA_CHECKS:
                yield from _data_check(view, ("checks", source, index), one)
            elif one is not None:
                yield from _expectation(view, ("checks", source, index), one)


def _data_check(view: View, path: Path, one: Expectation) -> Iterator[Problem]:
    """What the arguments' own model says of them, at their places."""
    place, model = view.at(*path, "arguments"), DATA_CHECKS[one.name]
    node = place.node if isinstance(place.node, Mapping) else Mapping(place.node.mark)
    try:
        model.model_validate({**one.arguments, "severity": one.severity})
    except ValidationError as error:
        for problem in problems_of(error, node, model):
            below = ".".join(part for part in (place.text, problem.path) if part)
            yield problem.model_copy(update={"path": below})
        return
    source = str(path[1])
    timed = "column" in one.arguments or view.given("sources", source, "time")
    if one.name == "freshness" and not timed and view.given("sources", source):
        yield place.problem(
            "TW111",
            "freshness needs a column of event time",
            at=place.key,
            expected="column, or time of the source",
            fix=f"add column: …, or sources.{source}.time",
        )


def _expectation(view: View, path: Path, one: Expectation) -> Iterator[Problem]:
    place = view.at(*path, "name")
    if one.name not in EXPECTATIONS:
        yield place.problem(
            "TW145",
            f"Great Expectations has no {one.name!r}",
            at=place.key,
            got=one.name,
            expected="a core expectation: docs/reference/pipeline.md lists them",
            suggestion=_meant(one.name),
        )
        return
    known = {"description", "notes", "meta", "severity", *EXPECTATIONS[one.name]}
    for argument in one.arguments:
        if argument not in known:
            below = view.at(*path, "arguments", argument)
            yield below.problem(
                "TW110",
                f"{one.name} has no argument {argument!r}",
                at=below.key,
                got=argument,
                expected=", ".join(sorted(known)),
                suggestion=nearest(argument, known),
            )
    for argument, required in EXPECTATIONS[one.name].items():
        if required and argument not in one.arguments:
            yield place.problem(
                "TW111", f"{one.name} needs {argument!r}", at=place.key, expected=argument, fix=f"add {argument}: …"
            )


def _meant(name: str) -> str | None:
    """The expectation of the same words in another order, or the nearest one."""
    words = sorted(name.split("_"))
    return next((known for known in EXPECTATIONS if sorted(known.split("_")) == words), nearest(name, EXPECTATIONS))
