"""`tradewind run`: a pipeline's steps here and now, with no Airflow process."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def command(
    pipeline: Annotated[Path, typer.Argument(help="The pipeline's YAML.", exists=True, dir_okay=False)],
    window: Annotated[
        tuple[datetime, datetime] | None, typer.Option(help="START END of what the run is about.", metavar="START END")
    ] = None,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="NAME=VALUE of the params block.")] = None,
    refresh: Annotated[list[str] | None, typer.Option(help="A step to do anew although it has a result.")] = None,
    profile: Annotated[str | None, typer.Option(help="Of profiles/; TRADEWIND_PROFILE or local by default.")] = None,
    run_id: Annotated[str | None, typer.Option(help="A name for the run; the time by default.")] = None,
    format: Annotated[Literal["text", "json"], typer.Option(help="text or json.")] = "text",
) -> None:
    """Run a pipeline up to registration: no scheduler, no retries, no approvals.

    Example: tradewind run dags/pipelines/breast_cancer.yaml
    """
    from rich.console import Console

    from tradewind.cli.params import params_of
    from tradewind.cli.plan import planned
    from tradewind.plan.code import UserCode
    from tradewind.plan.request import Run, check_refresh
    from tradewind.profile import project_root
    from tradewind.runner import LocalRun, StepReport

    console = Console(stderr=format == "json")
    spec, plan = planned(pipeline, profile)
    params = params_of(spec.params, param or ())
    check_refresh(plan.dag("train"), refresh or ())
    connections = _connections(pipeline)
    name = run_id or f"run__{datetime.now(UTC):%Y%m%dT%H%M%S}"
    documents = _documents(plan.lake, plan.lake_connection, connections)
    run = Run(plan, "train", name, documents, params, frozenset(refresh or ()))
    project = project_root(pipeline.resolve().parent)
    local = LocalRun(
        plan,
        run,
        UserCode.of(project),
        _utc_window(window),
        connections,
        on_step=lambda step: console.print(f"[bold]{step.id}[/bold]"),
        on_line=lambda _step, line: console.print(f"  {line}", style="dim", markup=False, highlight=False),
    )
    reports: list[StepReport] = []
    for report in local.reports():
        reports.append(report)
        _say(console, report)
    if format == "json":
        typer.echo(
            json.dumps({"ok": True, "run": name, "steps": [_as_json(report) for report in reports]}, default=str)
        )
    else:
        console.print(_table(plan.pipeline, name, reports))
        if any(report.id == "register" and report.state != "skipped" for report in reports):
            console.print("The rollout is pending: it is a DAG of its own (tradewind dev up, then the web UI).")


def _connections(path: Path) -> dict[str, str]:
    from tradewind.dev.stack import connections
    from tradewind.profile import home, project_root

    return connections(home(project_root(path.parent)))


def _documents(lake: str, connection: str | None, connections: dict[str, str]) -> Any:
    import os

    from tradewind_runtime.connections import Connection, store_options, variable
    from tradewind_runtime.documents import Documents

    if connection is None:
        return Documents(lake)
    text = os.environ.get(variable(connection)) or connections[connection]
    return Documents(lake, store_options(Connection.parse(connection, text)))


def _utc_window(window: tuple[datetime, datetime] | None) -> Any:
    from tradewind_runtime.contract.refs import Window

    if window is None:
        return None
    start, end = (time if time.tzinfo else time.replace(tzinfo=UTC) for time in window)
    return Window(start=start, end=end)


def _say(console: Any, report: Any) -> None:
    from rich.markup import escape

    metrics = ", ".join(f"{name}={value:g}" for name, value in report.metrics.items())
    parts = (report.state, f"{report.seconds:.1f} s", metrics, escape(report.reason))
    text = " · ".join(part for part in parts if part)
    console.print(f"  [green]✓[/green] {text}" if report.state != "skipped" else f"  [yellow]-[/yellow] {text}")


def _table(pipeline: str, run: str, reports: list[Any]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{pipeline}: {run}")
    for column in ("step", "state", "seconds", "what"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    for report in reports:
        what = escape(report.reason) or ", ".join(
            f"{name} {value:g}" for name, value in list(report.metrics.items())[:4]
        )
        table.add_row(report.id, report.state, f"{report.seconds:.1f}", what)
    return table


def _as_json(report: Any) -> dict[str, Any]:
    return {
        "id": report.id,
        "state": report.state,
        "seconds": round(report.seconds, 3),
        "metrics": dict(report.metrics),
        "reason": report.reason,
        "outputs": dict(report.outputs),
        "facts": dict(report.facts),
    }
