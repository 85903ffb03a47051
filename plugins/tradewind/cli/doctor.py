"""`tradewind doctor`: what is missing on this machine, and how to get it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from tradewind.profile import home, project_root

_SIGNS = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "missing": "[red]missing[/]"}


def command(format: Annotated[Literal["text", "json"], typer.Option(help="text or json.")] = "text") -> None:
    """Show what Tradewind needs and finds here; exit code 1 where something needed is missing.

    Example: tradewind doctor --format json
    """
    from tradewind.dev.examine import examine

    project = project_root()
    findings = examine(project, home(project))
    ok = all(finding.state != "missing" for finding in findings)
    if format == "json":
        typer.echo(json.dumps({"ok": ok, "findings": [asdict(finding) for finding in findings]}))
    else:
        from rich.console import Console
        from rich.markup import escape

        console = Console(highlight=False, soft_wrap=True)
        for finding in findings:
            console.print(f"{_SIGNS[finding.state]} {finding.what:20} {escape(finding.found)}")
            if finding.fix:
                console.print(f"{'':29}fix: {escape(finding.fix)}")
        console.print("All that is needed is here." if ok else "Something that is needed is missing.")
    raise typer.Exit(0 if ok else 1)
