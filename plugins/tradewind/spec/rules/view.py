"""What a rule looks at: the blocks that are right by themselves, and where everything stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from tradewind.errors import Problem
from tradewind.spec.nodes import Mapping, plain
from tradewind.spec.params import ParamBlock
from tradewind.spec.pipeline import Pipeline
from tradewind.spec.places import Place, find
from tradewind_runtime.contract.base import Name, Slug
from tradewind_runtime.contract.sources import Source

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
    """What a rule looks at."""

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


Rule = Callable[[View], Iterator[Problem]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """Register a rule."""
    RULES.append(function)
    return function


def draft_of(data: dict[str, Any]) -> Draft:
    """What is right of a text."""
    for _ in range(len(data) + 1):  # a block that is left out may show that another is wrong
        try:
            return Draft.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                _prune(data, detail["loc"])
    return Draft()


def _prune(data: dict[str, Any], loc: tuple[str | int, ...]) -> None:
    block = data.get(str(loc[0])) if loc else None
    if len(loc) > 1 and loc[0] in _BY_NAME and isinstance(block, dict):
        block.pop(str(loc[1]), None)
    elif loc:
        data.pop(str(loc[0]), None)
