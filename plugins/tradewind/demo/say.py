"""What the demo prints while it goes: the same lines on a terminal and in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_MARKS = {
    "success": "[green]✓[/green]",
    "failed": "[red]✗[/red]",
    "skipped": "[yellow]-[/yellow]",
    "upstream_failed": "[red]·[/red]",
}


@dataclass
class Say:
    """Lines with the seconds since the demo began."""

    console: Console = field(default_factory=lambda: Console(width=None if sys.stdout.isatty() else 120))
    began: float = field(default_factory=time.monotonic)

    def heading(self, text: str) -> None:
        """A new chapter."""
        self.console.rule(f"[bold]{text}[/bold]", align="left")

    def line(self, text: str) -> None:
        """One line."""
        self.console.print(f"[dim]{time.monotonic() - self.began:6.0f} s[/dim]  {text}", highlight=False)

    def fact(self, what: str, facts: Mapping[str, Any]) -> None:
        """Names and figures."""
        self.line(f"{what}: " + ", ".join(f"{name} {_short(value)}" for name, value in facts.items()))

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """A bar that is moved by what is given; on a terminal only, and gone when it is over."""
        columns = (TextColumn(f"         {what}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)

    def task(self, task_id: str, state: str, seconds: float, metrics: Mapping[str, float]) -> None:
        """A task that has ended."""
        told = ", ".join(f"{name} {_short(value)}" for name, value in list(metrics.items())[:6])
        self.line(f"  {_MARKS.get(state, state)} {task_id:<22} {seconds:5.1f} s  [dim]{told}[/dim]")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
