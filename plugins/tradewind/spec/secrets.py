"""Secrets do not belong in a YAML: they are found by what keys are called and by what they look like."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tradewind.errors import Problem
from tradewind.spec.nodes import Mapping, Mark, Node, Path, Scalar, Sequence
from tradewind.spec.places import Place
from tradewind_runtime.contract.resources import HELD

_KEY = re.compile(
    r"(?i)(^|[_.-])(password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key(_id)?|secret[_-]?key|private[_-]?key|credentials?)$"
)
_LOOKS = {
    "a login in a URL": re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@'\"]*:[^/\s@'\"]+@"),
    "a Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{8,}"),
    "an AWS access key": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\bgh[opsu]_[A-Za-z0-9]{20,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}
_FIX = (
    "remove it, change it where it is valid, and put it into an Airflow connection; the YAML names the connection's id"
)


def leaks(text: str, file: str, node: Mapping | None) -> list[Problem]:
    """Every secret of a text, comments included. What was found is not repeated."""
    found = [
        Place((), Scalar(mark := Mark(file, number, match.start() + 1), None), mark).problem(
            "TW150", f"{what} stands in the text", expected="a connection's id", fix=_FIX
        )
        for number, line in enumerate(text.splitlines(), 1)
        for what, look in _LOOKS.items()
        for match in look.finditer(line)
    ]
    lines = {problem.line for problem in found}
    named = _named(node, ()) if node is not None else ()
    return found + [problem for problem in named if problem.line not in lines]


def _named(node: Node, path: Path) -> Iterator[Problem]:
    if isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from _named(item, (*path, index))
    if not isinstance(node, Mapping) or (len(path) == 3 and path[0] == "sources" and path[2] == "columns"):
        return  # a column may be called token
    for key, item in node.items.items():
        below = Place((*path, key), item, node.keys[key])
        if _KEY.search(key) and isinstance(item, Scalar) and isinstance(item.value, str) and item.value:
            if path[-2:] == ("resources", "env") and re.fullmatch(HELD, item.value):
                continue  # a variable may be called TOKEN: it names a Secret
            yield below.problem("TW150", f"{key!r} looks like a secret", expected="a connection's id", fix=_FIX)
        else:
            yield from _named(item, below.path)
