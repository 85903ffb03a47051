"""`tradewind plan`: what a pipeline becomes, without Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from tradewind.plan.model import Plan
    from tradewind.spec import Pipeline


def command(
    pipeline: Annotated[Path, typer.Argument(help="The pipeline's YAML.", exists=True, dir_okay=False)],
    profile: Annotated[str | None, typer.Option(help="Of profiles/; TRADEWIND_PROFILE or local by default.")] = None,
    format: Annotated[Literal["text", "json"], typer.Option(help="text or json.")] = "text",
) -> None:
    """Show the DAGs, steps, inputs and outputs that a YAML stands for.

    Example: tradewind plan dags/pipelines/flight_delays.yaml --format json
    """
    import json

    _, plan = planned(pipeline, profile)
    if format == "json":
        typer.echo(json.dumps({"ok": True, "plan": plan.model_dump(mode="json")}))
        return
    from rich.console import Console

    console = Console()
    for dag in plan.dags:
        console.print(_tree(dag))


def planned(path: Path, profile: str | None) -> tuple[Pipeline, Plan]:
    """One YAML and its plan, under a profile.

    Raises:
        TradewindError: all problems of the YAML, or of the profile.
    """
    from tradewind.compiler import commit_of
    from tradewind.errors import TradewindError
    from tradewind.plan.build import build
    from tradewind.plan.code import UserCode
    from tradewind.profile import load_profile, project_root
    from tradewind.spec.load import read

    path = path.resolve()
    project = project_root(path.parent)
    loaded = read(path, root=project)
    if loaded.pipeline is None:
        raise TradewindError(*loaded.errors)
    settings, code = load_profile(profile, project=project), UserCode.of(project)
    file = path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)
    return loaded.pipeline, build(
        loaded.pipeline, settings, code, file=file, text=loaded.text, commit=commit_of(project), node=loaded.node
    )


def _tree(dag: Any) -> Any:
    from rich.tree import Tree

    arrival = dag.schedule.arrival
    when = dag.schedule.cron or (f"by what arrives in {arrival.source}" if arrival else "")
    after = ", ".join((*dag.schedule.after, *dag.schedule.assets))
    title = f"[bold]{dag.dag_id}[/bold]  " + "  ".join(
        part for part in (when, f"after {after}" if after else "") if part
    )
    tree = Tree(title)
    for step in dag.steps:
        where = f"{step.kind} · {step.runner} · {step.engine}"
        line = tree.add(f"{step.id}  [dim]{where}{' · heavy' if step.heavy else ''}[/dim]")
        if step.upstream:
            line.add(f"[dim]after {', '.join(step.upstream)}[/dim]")
        if step.outlets:
            line.add(f"[dim]updates {', '.join(step.outlets)}[/dim]")
    return tree
