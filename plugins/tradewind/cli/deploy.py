"""`tradewind deploy`: what endpoints should serve, and what their replicas say that they do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Endpoints and their rollouts.",
    epilog="Example: tradewind deploy status",
)


@app.callback()
def _root() -> None: ...


@app.command("status")
def status(
    endpoint: Annotated[str | None, typer.Argument(help="Only this one.")] = None,
    format: Annotated[Literal["text", "json"], typer.Option("--format", help="text or json.")] = "text",
    profile: Annotated[str | None, typer.Option(help="Of profiles/; TRADEWIND_PROFILE or local by default.")] = None,
) -> None:
    """Show each endpoint's newest generation and its replicas.

    Example: tradewind deploy status flight-delays --format json
    """
    from tradewind.cli.systems import lake
    from tradewind_runtime import endpoints

    documents = lake(profile).documents
    names = [endpoint] if endpoint else endpoints.endpoints(documents)
    found = [(name, endpoints.latest(documents, name), endpoints.statuses(documents, name)) for name in names]
    if format == "json":
        body = [
            {
                "endpoint": name,
                "generation": now.model_dump(mode="json") if now else None,
                "replicas": [one.model_dump(mode="json") for one in replicas],
            }
            for name, now, replicas in found
        ]
        typer.echo(json.dumps({"ok": True, "endpoints": body}))
        return
    if not found:
        typer.echo("There is no endpoint yet: a pipeline with deploy: makes one.")
    for name, now, replicas in found:
        if now is None:
            typer.echo(f"{name}: nothing has been rolled out")
            continue
        canary = f", canary {now.canary[:12]} at {now.weight} %" if now.canary else ""
        typer.echo(f"{name}: generation {now.number}, stable {now.stable[:12]}{canary}: {now.reason} ({now.by})")
        for one in replicas:
            age = (datetime.now(UTC) - one.written).total_seconds()
            rows = sum(arm.rows for arm in one.arms.values())
            problems = f"; {'; '.join(one.problems)}" if one.problems else ""
            typer.echo(
                f"  {one.replica}: generation {one.generation}, {rows} rows answered, seen {age:.0f} s ago{problems}"
            )
