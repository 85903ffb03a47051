"""From a path in the models to a place in the text, and to the path as a person reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tradewind.errors import Problem, docs_of
from tradewind.spec.nodes import Mapping, Mark, Node, Path, Sequence, plain, written

_EXPECTATION = ("name", "arguments", "severity")


@dataclass(frozen=True)
class Place:
    """A value in the text, by the path that leads to it."""

    path: Path
    node: Node
    key: Mark  # where its key stands, or it itself in a list

    @property
    def text(self) -> str | None:
        """`train.params.eta`, `checks.flights[0]`; None at the top."""
        return written(self.path)

    def problem(self, code: str, message: str, *, at: Mark | None = None, **details: Any) -> Problem:
        """A problem with this value; it is shown where the value stands, or `at` another place."""
        mark = at or self.node.mark
        details.setdefault("path", self.text)
        details.setdefault("docs", docs_of(code))
        return Problem(code=code, message=message, file=mark.file, line=mark.line, column=mark.column, **details)


def find(root: Mapping, loc: Path) -> Place:
    """The deepest value that a path leads to. Parts that stand for no key in the text are passed over:
    names of a union's forms, and fields of which the text has a shorthand.
    """
    place = Place((), root, root.mark)
    for part in loc:
        node = place.node
        if isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            below = node.items[part]
            place = Place((*place.path, part), below, below.mark)
        elif isinstance(node, Mapping) and part in node.items:
            place = _below(place, node, str(part))
        elif (
            isinstance(node, Mapping)
            and part in _EXPECTATION
            and len(node.items) == 1
            and place.path[:1] == ("checks",)
        ):
            place = _below(place, node, next(iter(node.items)))
            if isinstance(place.node, Mapping) and part in place.node.items:
                place = _below(place, place.node, str(part))
    return place


def _below(place: Place, node: Mapping, key: str) -> Place:
    return Place((*place.path, key), node.items[key], node.keys[key])


def shown(node: Node) -> Any:
    """A value for a message: short."""
    value = plain(node)
    if isinstance(value, dict):
        return f"a mapping of {', '.join(list(value)[:6]) or 'nothing'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return value[:200] if isinstance(value, str) else value
