"""`tradewind checks`: what a pipeline's checks found, run by run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from tradewind_runtime.checked import History


def command(
    pipeline: Annotated[str, typer.Argument(help="Its name.")],
    source: Annotated[str | None, typer.Option(help="Only this one's.")] = None,
    failing: Annotated[
        bool, typer.Option("--failing", help="Only those that failed when they were asked last.")
    ] = False,
    last: Annotated[int, typer.Option(min=1, help="Results of each to show.")] = 10,
    format: Annotated[Literal["text", "json"], typer.Option("--format", help="text or json.")] = "text",
    profile: Annotated[str | None, typer.Option(help="Of profiles/; TRADEWIND_PROFILE or local by default.")] = None,
) -> None:
    """Show each check, when it last passed and since when it fails: exit code 1 where one of severity stop does.

    Example: tradewind checks flight-delays --failing
    """
    found = [one for one in _histories(pipeline, source, last, profile) if not (failing and one.success)]
    ok = all(one.success or one.severity != "stop" for one in found)
    if format == "json":
        typer.echo(json.dumps({"ok": ok, "checks": [one.model_dump(mode="json") for one in found]}))
    elif found:
        _print([_row(one) for one in found])
        for one in found:
            if not one.success:
                typer.echo(f"{one.source}: {one.check} {json.dumps(one.arguments)}: {one.results[0].observed}")
    else:
        typer.echo("No check fails.")
    raise typer.Exit(0 if ok else 1)


def _histories(pipeline: str, source: str | None, last: int, profile: str | None) -> list[History]:
    from tradewind.cli.systems import lake
    from tradewind_runtime import checked

    opened = lake(profile)
    found = checked.histories(opened, pipeline, last)
    if not found:
        raise _missing(f"no check of {pipeline!r} has been asked", pipeline, checked.pipelines(opened))
    sources = sorted({one.source for one in found})
    if source is not None and source not in sources:
        raise _missing(f"no check of {pipeline}'s source {source!r} has been asked", source, sources)
    return [one for one in found if source in (None, one.source)]


def _missing(message: str, name: str, known: list[str]) -> Exception:
    from tradewind.errors import nearest
    from tradewind_runtime.contract.errors import Problem, TradewindError

    return TradewindError(
        Problem(
            code="TW341",
            message=message,
            got=name,
            expected=", ".join(known) or "none yet: run a pipeline that has checks",
            suggestion=nearest(name, known),
        )
    )


def _row(one: History) -> dict[str, str]:
    return {
        "source": one.source,
        "check": one.check,
        "severity": one.severity,
        "now": "pass" if one.success else "fail",
        "asked": _when(one.asked),
        "last passed": _when(one.passed),
        "fails since": _when(one.failing_since) if one.failing_since else "",
        "results, newest first": "".join("✓" if result.success else "✗" for result in one.results),
    }


def _when(moment: datetime | None) -> str:
    return "never" if moment is None else moment.astimezone(UTC).isoformat(" ", "minutes").removesuffix("+00:00")


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table()
    for name in rows[0]:
        shown.add_column(name)
    for row in rows:
        shown.add_row(*row.values())
    console = Console(markup=False)
    if not console.is_terminal:
        console.width = 10_000  # a pipe has no width to cut a table to
    console.print(shown)
