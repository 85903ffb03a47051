"""What a rule looks at: the blocks that are right by themselves, and where everything stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Literal

from pydantic import Field, ValidationError

from tradewind.errors import Problem
from tradewind.spec.nodes import Mapping, Path, plain
from tradewind.spec.params import ParamBlock
from tradewind.spec.pipeline import Pipeline
from tradewind.spec.places import Place, find
from tradewind_runtime.contract.base import Name, Slug
from tradewind_runtime.contract.sources import Source

#: More wrong values than anybody reads about.
_MOST_WRONG = 200
#: What a message has besides its value, and the type of a column of it.
KEPT = {"key": "binary", "headers": "string", "timestamp": "timestamp", "partition": "integer", "offset": "long"}


class Draft(Pipeline):
    """A pipeline from which what is wrong may be missing."""

    version: Literal[1] = 1
    pipeline: Slug = "draft"
    sources: dict[Name, Source] = Field(default_factory=dict)
    params: dict[Name, ParamBlock] = Field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """What a rule looks at."""

    draft: Draft
    node: Mapping
    root: FilePath | None  # the project; None: user code is not looked at

    def at(self, *path: str | int) -> Place:
        """The place of a value."""
        return find(self.node, path)

    def value(self, *path: str) -> Any:
        """What the text has there, right or wrong; None where it has nothing."""
        place = self.at(*path)
        return plain(place.node) if len(place.path) == len(path) else None

    def given(self, *path: str) -> bool:
        """Whether the text has it, right or wrong."""
        return self.value(*path) is not None

    def names(self, block: str) -> list[str]:
        """The names in a block, those of wrong parts too."""
        found = self.value(block)
        return sorted(found) if isinstance(found, dict) else []

    def columns(self, table: str) -> dict[str, Any] | None:
        """All columns of a source, or of `features`, with their types, right or wrong; None where there may be others.

        Without a transform, `features` is the only source's table; what a transform gives is not known.
        """
        sources = self.names("sources")
        if table == "features" and table not in sources and len(sources) == 1 and not self.given("transform"):
            table = sources[0]
        return None if self.value("sources", table, "new_columns") == "add" else self.declared(table)

    def declared(self, source: str) -> dict[str, Any] | None:
        """The columns that a source names, with those that it keeps of a message; None where it names none."""
        named, keep = self.value("sources", source, "columns"), self.value("sources", source, "kafka", "keep")
        if not isinstance(named, dict):
            return None
        parts = keep if isinstance(keep, dict) else {}
        return {name: KEPT[part] for part, name in parts.items() if part in KEPT and isinstance(name, str)} | named


Rule = Callable[[View], Iterator[Problem]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """Register a rule."""
    RULES.append(function)
    return function


def draft_of(data: dict[str, Any]) -> Draft:
    """What is right of a text: values that are wrong are left out one by one, and what cannot do without them."""
    for _ in range(_MOST_WRONG):
        try:
            return Draft.model_validate(data)
        except ValidationError as error:
            if not _leave_out(data, error.errors(include_url=False, include_context=False)[0]["loc"]):
                break
    return Draft()


def _leave_out(data: dict[str, Any], loc: Path) -> bool:
    """Remove the deepest key that a path leads to; parts that are no keys name a union's forms, or what is missing."""
    found: tuple[dict[str, Any], str] | None = None
    here: Any = data
    for part in loc:
        if isinstance(here, dict) and part in here:
            found, here = (here, str(part)), here[part]
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
    if found is not None:
        del found[0][found[1]]
    return found is not None
