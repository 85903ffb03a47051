"""Columns that are named, wherever it is known which there are: those that a source declares, or keeps."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tradewind.errors import Problem, nearest
from tradewind.spec.nodes import Path, Sequence, plain
from tradewind.spec.places import Place
from tradewind.spec.rules.view import View, rule
from tradewind_runtime.contract.sources import PROVENANCE

#: Types of event time.
_TIMES = ("timestamp", "date")
#: Arguments of expectations that name columns.
_ARGUMENTS = ("column", "column_A", "column_B", "column_list", "column_set")
#: What names columns of `features`.
_LEARNED = (
    ("split", "time"),
    ("train", "label"),
    ("train", "features"),
    ("train", "exclude"),
    ("evaluate", "by"),
    ("monitor", "entity_key"),
)


@rule
def event_times(view: View) -> Iterator[Problem]:
    """A source's event time is one of its columns, and a time."""
    for name in view.names("sources"):
        columns, path = view.declared(name), ("sources", name, "time")
        if columns is None or not view.given(*path):
            continue
        yield from _unknown(view, path, columns)
        place = view.at(*path)
        kind = columns.get(str(plain(place.node)), _TIMES[0])
        if kind not in _TIMES:
            yield place.problem(
                "TW128",
                f"a column of type {kind} is no event time",
                got=plain(place.node),
                expected=f"a column of type {' or '.join(_TIMES)}",
            )


@rule
def checked_columns(view: View) -> Iterator[Problem]:
    """Expectations see rows as they were ingested: the declared columns, and where each row came from."""
    for source in view.names("checks"):
        columns, suite = view.columns(source), view.at("checks", source).node
        for index in range(len(suite.items) if columns and isinstance(suite, Sequence) else 0):
            for argument in _ARGUMENTS:
                path = ("checks", source, index, "arguments", argument)
                if view.at(*path).path[-1] == argument:
                    yield from _unknown(view, path, columns, PROVENANCE)


@rule
def learned_columns(view: View) -> Iterator[Problem]:
    """What splits, training, measures and later labels name is in `features`."""
    for path in _LEARNED:
        if view.given(*path):
            yield from _unknown(view, path, view.columns("features"))


@rule
def kept_columns(view: View) -> Iterator[Problem]:
    """What is kept of the scored rows is in their table."""
    if view.draft.score and view.given("score", "keep"):
        table = view.draft.score.table
        besides = PROVENANCE if table in view.names("sources") else ()
        yield from _unknown(view, ("score", "keep"), view.columns(table), besides)


@rule
def requested_columns(view: View) -> Iterator[Problem]:
    """Requests may hold more than a model asks for: another name is unusual, and not wrong."""
    if view.given("monitor", "time"):
        for problem in _unknown(view, ("monitor", "time"), view.columns("features")):
            fix = "correct it, or let clients send a tensor of that name"
            yield problem.model_copy(update={"severity": "warning", "fix": fix})


def _unknown(view: View, path: Path, known: Collection[str] | None, besides: Collection[str] = ()) -> Iterator[Problem]:
    """The columns at a path, one or a list of them, that are not there. Words in braces are filled in later."""
    node = view.at(*path).node
    places: list[Place] = [view.at(*path)]
    if isinstance(node, Sequence):
        places = [view.at(*path, index) for index in range(len(node.items))]
    for place in places if known is not None else ():
        column = plain(place.node)
        if known is not None and isinstance(column, str) and "{" not in column and column not in (*known, *besides):
            yield place.problem(
                "TW128",
                f"the source has no column {column!r}",
                got=column,
                expected=", ".join(known),
                suggestion=nearest(column, known),
            )
