"""`tradewind compile`: the stubs, for an Airflow without our bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    out: Annotated[Path, typer.Option(help="Folder for the compiled DAG files.")],
    project: Annotated[Path | None, typer.Option(help="The project; by default the one around this folder.")] = None,
    profile: Annotated[str | None, typer.Option(help="Of profiles/; TRADEWIND_PROFILE or local by default.")] = None,
    format: Annotated[Literal["text", "json"], typer.Option(help="text or json.")] = "text",
) -> None:
    """Write one DAG file for each YAML of dags/pipelines, with the archive of user code beside them.

    Example: tradewind compile --out build/dags
    """
    from tradewind.compiler import compile_project, inputs, version_of
    from tradewind.profile import load_profile, project_root

    root = (project or project_root()).resolve()
    settings = load_profile(profile, project=root)
    version = version_of(root, inputs(root, settings.profile))
    done = compile_project(root, out, settings, version=version)
    problems = [problem for one in done for problem in one.problems]
    if format == "json":
        files = [{"source": one.source, "stub": str(one.stub), "ok": not one.problems} for one in done]
        body = {
            "ok": not problems,
            "version": version,
            "files": files,
            "problems": [problem.model_dump(mode="json") for problem in problems],
        }
        typer.echo(json.dumps(body))
    else:
        for problem in problems:
            typer.echo(str(problem), err=True)
        typer.echo(f"{len(done)} pipelines compiled to {out}, {sum(bool(one.problems) for one in done)} of them wrong")
    raise typer.Exit(1 if problems else 0)
