"""What blocks ask of each other: a registry of small rules, one function each.

A block that is wrong by itself is left out, so that the others are looked at all the same: every problem is told at
once.
"""

from __future__ import annotations

from pathlib import Path

from tradewind.errors import Problem
from tradewind.spec.nodes import Mapping, plain
from tradewind.spec.rules import blocks, columns, retention, suites, texts, training
from tradewind.spec.rules.view import RULES, View, draft_of

__all__ = ["blocks", "columns", "crosscheck", "retention", "suites", "texts", "training"]


def crosscheck(node: Mapping, root: Path | None) -> list[Problem]:
    """All that is wrong between the blocks of a text, defaults merged in; `root` is the project, for its user code."""
    view = View(draft_of(plain(node)), node, root)
    return [problem for one in RULES for problem in one(view)]
