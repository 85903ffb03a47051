"""Blocks that need others, and the names that they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tradewind.errors import Problem, nearest
from tradewind.spec.rules.view import View, rule

_NEEDS = {
    "tune": ("train",),
    "evaluate": ("train",),
    "promote": ("train",),
    "deploy": ("promote",),
    "score": ("promote",),
    "monitor": ("deploy",),
}


@rule
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


@rule
def incremental(view: View) -> Iterator[Problem]:
    """Days that are computed need a time that they are days of."""
    if view.given("transform", "incremental") and not view.given("split", "time"):
        place = view.at("transform", "incremental")
        yield place.problem(
            "TW122",
            "transform.incremental needs split.time, which is not there",
            at=place.key,
            expected="split: {time: …, train: …, valid: …, test: …}",
            fix="split by time, or remove incremental",
        )


@rule
def incremental_times(view: View) -> Iterator[Problem]:
    """Columns of time are of sources."""
    asked = view.draft.transform.incremental if view.draft.transform else None
    yield from _no_source(view, asked.times if asked else (), "transform", "incremental", "times")


@rule
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
            fix="add transform: {spark: …}, {sql: …}, {python: …} or {beam: …}",
        )


@rule
def checked_sources(view: View) -> Iterator[Problem]:
    """Checks are of sources."""
    yield from _no_source(view, view.names("checks"), "checks", purpose=" to check")


def _no_source(view: View, names: Iterable[str], *path: str, purpose: str = "") -> Iterator[Problem]:
    """Keys of a block that are to be sources, and are none."""
    sources = view.names("sources")
    for name in names:
        if sources and name not in sources:
            place = view.at(*path, name)
            yield place.problem(
                "TW120",
                f"there is no source {name!r}{purpose}",
                at=place.key,
                got=name,
                expected=", ".join(sources),
                suggestion=nearest(name, sources),
            )


@rule
def param_names(view: View) -> Iterator[Problem]:
    """Every run has some params of its own, in the same form."""
    for name in view.names("params"):
        if name in ("window_start", "window_end", "refresh"):
            yield view.at("params", name).problem(
                "TW129",
                f"a param cannot be called {name!r}: every run has one of that name",
                at=view.at("params", name).key,
                got=name,
                fix="choose another name",
            )


@rule
def table_names(view: View) -> Iterator[Problem]:
    """Every source gives tables named after it, and the pipeline has some of its own."""
    sources = view.names("sources")
    taken = {"features": "the transform's table"}
    taken |= {f"{name}{end}": f"a table of the source {name}" for name in sources for end in ("_raw", "_quarantine")}
    if view.given("checks"):
        taken["checks"] = "the table of what checks found"
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
                expected=", ".join(dict.fromkeys(("features", *sources))),
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
