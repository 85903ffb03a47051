"""`tradewind checks`: what a pipeline's checks found, run by run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from tradewind_runtime.checked import History


_NONE = "none yet: run a pipeline that has checks"


def command(
    pipeline: Annotated[str, typer.Argument(help="Its name.")],
    source: Annotated[str | None, typer.Option(help="Only this one's.")] = None,
    failing: Annotated[
        bool, typer.Option("--failing", help="Only those that failed when they were asked last, and still are asked.")
    ] = False,
    last: Annotated[int, typer.Option(min=1, help="Results of each to show.")] = 10,
    format: Annotated[Literal["text", "json"], typer.Option("--format", help="text or json.")] = "text",
    profile: Annotated[str | None, typer.Option(help="Of profiles/; TRADEWIND_PROFILE or local by default.")] = None,
) -> None:
    """Show each check, when it last passed and since when it fails: exit code 1 where one of severity stop does.

    One that its source has no more is shown with when that was, and fails no more.

    Example: tradewind checks flight-delays --failing
    """
    from tradewind.cli.telling import show

    found = [one for one in _histories(pipeline, source, last, profile) if not failing or _fails(one)]
    ok = not any(_fails(one) and one.severity == "stop" for one in found)
    if format == "json":
        typer.echo(json.dumps({"ok": ok, "checks": [one.model_dump(mode="json") for one in found]}))
    elif found:
        show([_row(one) for one in found])
        for one in found:
            if _fails(one):
                typer.echo(f"{one.source}: {one.check} {json.dumps(one.arguments)}: {one.results[0].observed}")
    else:
        typer.echo("No check fails.")
    raise typer.Exit(0 if ok else 1)


def _fails(one: History) -> bool:
    return not one.success and one.until is None


def _histories(pipeline: str, source: str | None, last: int, profile: str | None) -> list[History]:
    """Of all its checks that have been asked.

    Raises:
        TradewindError: TW341 where there are none.
    """
    from tradewind.cli.systems import lake
    from tradewind.cli.telling import unknown
    from tradewind_runtime import checked

    opened = lake(profile)
    found = checked.histories(opened, pipeline, last)
    if not found:
        known = checked.pipelines(opened)
        raise unknown(f"no check of {pipeline!r} has been asked", pipeline, known, _NONE)
    sources = sorted({one.source for one in found})
    if source is not None and source not in sources:
        raise unknown(f"no check of {pipeline}'s source {source!r} has been asked", source, sources, _NONE)
    return [one for one in found if source in (None, one.source)]


def _row(one: History) -> dict[str, str]:
    return {
        "source": one.source,
        "check": one.check,
        "severity": one.severity,
        "now": "pass" if one.success else "fail",
        "asked": _when(one.asked),
        "until": _when(one.until) if one.until else "",
        "last passed": _when(one.passed),
        "fails since": _when(one.failing_since) if one.failing_since else "",
        "results, newest first": "".join("✓" if result.success else "✗" for result in one.results),
    }


def _when(moment: datetime | None) -> str:
    return "never" if moment is None else moment.astimezone(UTC).isoformat(" ", "minutes").removesuffix("+00:00")
