"""YAML text as a tree in which every key and value knows where it stands.

Read from libyaml's events rather than by a loader: so depth and aliases are bounded, duplicate keys are seen, keys are
always text (`on` is no boolean) and plain values are those of YAML 1.2, as in editors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tradewind.errors import Problem, TradewindError, docs_of

MAX_BYTES = 1_000_000
_MAX_DEPTH = 40
_MAX_NODES = 100_000

_NULL = re.compile(r"^(~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_LARGEST = 400  # digits; more is no number that anybody means


@dataclass(frozen=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Scalar:
    """A text, number, boolean or null."""

    mark: Mark
    value: Any


@dataclass(frozen=True)
class Sequence:
    """A list."""

    mark: Mark
    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Mapping:
    """Keys, each with its own place, and their values."""

    mark: Mark
    items: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping
#: Keys and indices that lead to a value.
Path = tuple[str | int, ...]


def plain(node: Node) -> Any:
    """The tree without places, as JSON has it."""
    if isinstance(node, Mapping):
        return {key: plain(item) for key, item in node.items.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return node.value


def written(path: Path) -> str | None:
    """A path as a person reads it."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or None


def scalars(node: Node, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """Every scalar with its path."""
    if isinstance(node, Scalar):
        yield path, node
    elif isinstance(node, Mapping):
        for key, item in node.items.items():
            yield from scalars(item, (*path, key))
    else:
        for index, item in enumerate(node.items):
            yield from scalars(item, (*path, index))


def parse(text: str, file: str) -> tuple[Mapping | None, list[Problem]]:
    """The one mapping of a text, and what is wrong with it as YAML.

    Duplicate keys are problems but leave a tree, so that the rest can be checked too.
    """
    reader = _Reader(file)
    if len(text.encode(errors="replace")) > MAX_BYTES:
        return None, [
            Problem(
                code="TW100",
                message=f"the file is larger than {MAX_BYTES // 1000} kB",
                file=file,
                docs=docs_of("TW100"),
            )
        ]
    try:
        node = reader.read(text)
    except TradewindError as error:
        return None, [*reader.problems, *error.problems]
    except yaml.YAMLError as error:
        return None, [*reader.problems, _syntax(error, text, file)]
    if isinstance(node, Mapping):
        return node, reader.problems
    if node is None or (isinstance(node, Scalar) and node.value is None):
        found, mark = "nothing", Mark(file, 1, 1)
    else:
        found, mark = "a list" if isinstance(node, Sequence) else f"the text {str(plain(node))[:40]!r}", node.mark
    problem = reader.problem(
        "TW104", mark, f"the file holds {found}", expected="one mapping: version, pipeline, sources, …"
    )
    return None, [*reader.problems, problem]


def _syntax(error: yaml.YAMLError, text: str, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    if mark is None and isinstance(position := getattr(error, "position", None), int):
        before = text.encode()[:position].decode(errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    context = getattr(error, "context", None)
    shown = text.splitlines()[line - 1] if line is not None and line <= len(text.splitlines()) else ""
    tab = "\t" in shown[: len(shown) - len(shown.lstrip())] or "'\\t'" in what or "tab" in what
    return Problem(
        code="TW101",
        docs=docs_of("TW101"),
        file=file,
        line=line,
        column=column,
        got=shown.strip()[:80] or None,
        message=f"this is not YAML: {what}" + (f" ({context})" if context else ""),
        fix="indent by spaces: YAML takes no tabs"
        if tab
        else "look at the indentation, colons and quotes here and above",
    )


class _Reader:
    """Builds the tree from events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node | None] = {}
        self.sizes: dict[int, int] = {}
        self.nodes = 0

    def read(self, text: str) -> Node | None:
        events = yaml.parse(text, Loader=yaml.CSafeLoader)
        root: Node | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise TradewindError(
                        self.problem(
                            "TW103",
                            self.mark(event),
                            "a second document (---) in one file",
                            fix="write one file a pipeline",
                        )
                    )
                root = self.node(next(events), events, ())
        return root

    def mark(self, event: Any) -> Mark:
        return Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def problem(self, code: str, mark: Mark, message: str, **details: Any) -> Problem:
        return Problem(
            code=code,
            message=message,
            file=mark.file,
            line=mark.line,
            column=mark.column,
            docs=docs_of(code),
            **details,
        )

    def refuse(self, event: Any, message: str, **details: Any) -> TradewindError:
        return TradewindError(self.problem("TW103", self.mark(event), message, **details))

    def node(self, event: Any, events: Iterator[Any], path: Path) -> Node:
        if len(path) > _MAX_DEPTH:
            raise self.refuse(event, f"more than {_MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            raise self.refuse(event, f"the tag {event.tag} is not allowed", fix="leave the tag out")
        before = self.nodes
        self.count(event, 1)
        if event.anchor is not None:
            self.anchors[event.anchor] = None  # not finished: an alias to it now would hold itself
        made: Node
        if isinstance(event, yaml.ScalarEvent):
            made = Scalar(self.mark(event), _value(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            made = self.sequence(event, events, path)
        else:
            made = self.mapping(event, events, path)
        if event.anchor is not None:
            self.anchors[event.anchor] = made
            self.sizes[id(made)] = self.nodes - before
        return made

    def count(self, event: Any, nodes: int) -> None:
        """Aliases count as often as they are used, so that nine lines cannot become a billion values."""
        self.nodes += nodes
        if self.nodes > _MAX_NODES:
            raise self.refuse(event, f"more than {_MAX_NODES} values, aliases included")

    def alias(self, event: Any) -> Node:
        found = self.anchors.get(event.anchor)
        if found is None:
            known = event.anchor in self.anchors
            raise self.refuse(event, f"*{event.anchor} " + ("holds itself" if known else "has no anchor above it"))
        self.count(event, self.sizes[id(found)])
        return found

    def sequence(self, start: Any, events: Iterator[Any], path: Path) -> Sequence:
        made = Sequence(self.mark(start))
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            made.items.append(self.node(event, events, (*path, len(made.items))))
        return made

    def mapping(self, start: Any, events: Iterator[Any], path: Path) -> Mapping:
        made = Mapping(self.mark(start))
        merged: list[Mapping] = []
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.refuse(event, "a key that is not text", fix="quote it if it begins with [, {, * or &")
            key, mark = event.value, self.mark(event)
            value_event = next(events)
            value = self.node(value_event, events, (*path, key))
            if key == "<<" and not event.style:
                merged += self.merged(value, value_event)
            elif key in made.items:
                self.problems.append(
                    self.problem(
                        "TW102",
                        mark,
                        f"{key!r} stands twice: first in line {made.keys[key].line}, again here",
                        path=written((*path, key)),
                        got=key,
                        fix="keep one of the two",
                    )
                )
            else:
                made.items[key], made.keys[key] = value, mark
        for base in merged:
            for key, item in base.items.items():
                if key not in made.items:
                    made.items[key], made.keys[key] = item, base.keys[key]
        return made

    def merged(self, value: Node, event: Any) -> list[Mapping]:
        values = value.items if isinstance(value, Sequence) else [value]
        if not all(isinstance(one, Mapping) for one in values):
            raise self.refuse(event, "<< takes a mapping, or a list of them")
        return [one for one in values if isinstance(one, Mapping)]


def _value(event: Any) -> Any:
    text: str = event.value
    if event.style or event.tag is not None:  # quoted, a block, or !!str
        return text
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text.lower() == "true"
    if len(text) <= _LARGEST:
        if _INT.match(text):
            return int(text)
        if _FLOAT.match(text):
            return float(text)
    return text
