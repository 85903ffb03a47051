"""Problems for people, by rich, and for machines, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from tradewind.errors import Problem


def show_problems(problems: Iterable[Problem], *, as_json: bool = False) -> None:
    """Print problems: text to stderr, or one JSON object to stdout."""
    if as_json:
        body = {"ok": False, "problems": [problem.model_dump(mode="json") for problem in problems]}
        sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(rendered(problem))


def rendered(problem: Problem) -> str:
    """A problem as rich's markup: place, what is wrong, and what to do."""
    from rich.markup import escape

    where = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part is not None)
    color = "red" if problem.severity == "error" else "yellow"
    head = f"[bold]{escape(where)}[/bold] " if where else ""
    lines = [f"{head}[{color}]{problem.severity}[/{color}] [dim]{problem.code}[/dim] {escape(problem.message)}"]
    parts = {
        "at": problem.path,
        "got": None if problem.got is None else str(problem.got),
        "expected": problem.expected,
        "did you mean": problem.suggestion,
        "fix": problem.fix,
    }
    lines += [f"    [dim]{name}:[/dim] {escape(text)}" for name, text in parts.items() if text]
    return "\n".join(lines)
