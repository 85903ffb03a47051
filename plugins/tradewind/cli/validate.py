"""`tradewind validate`: all problems of YAML files, with their places."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tradewind.errors import Problem

if TYPE_CHECKING:
    from tradewind.spec import Loaded


def command(
    paths: Annotated[list[Path], typer.Argument(help="Pipelines, or folders of them.", exists=True)],
    profile: Annotated[
        str | None, typer.Option(help="Of profiles/: tell too what it does not have or allow.", show_default=False)
    ] = None,
    format: Annotated[Literal["text", "json"], typer.Option(help="text or json.")] = "text",
) -> None:
    """Check pipelines: every problem with its place, its nearest valid name and its fix.

    Example: tradewind validate dags/pipelines --format json
    """
    from tradewind.spec import load_all

    files = sorted({path.absolute(): path for given in paths for path in yaml_files(given)}.values())
    loaded = load_all(files)
    if profile is not None:
        loaded = [_held(one, profile) for one in loaded]
    # A wrong default is a problem of every file that uses it, and told once.
    problems = list(dict.fromkeys(_key(_from_here(problem, one)) for one in loaded for problem in one.problems))
    found = [Problem.model_validate_json(text) for text in problems]
    errors = sum(problem.severity == "error" for problem in found)
    ok = bool(files) and not errors
    if format == "json":
        import json

        valid = [{"file": _shown(one.path), "ok": not one.errors} for one in loaded]
        body: dict[str, Any] = {"ok": ok, "files": valid, "problems": [one.model_dump(mode="json") for one in found]}
        typer.echo(json.dumps(body, ensure_ascii=False))
    else:
        from tradewind.cli.show import show_problems

        show_problems(found)
        wrong = sum(bool(one.errors) for one in loaded)
        typer.echo(_summary(len(loaded), wrong, errors, len(found) - errors))
    raise typer.Exit(0 if ok else 1)


def yaml_files(path: Path) -> list[Path]:
    """A file itself; of a folder its pipelines, without shared defaults."""
    if not path.is_dir():
        return [path]
    found = (one for pattern in ("*.yaml", "*.yml") for one in path.rglob(pattern))
    return sorted(one for one in found if one.stem != "defaults" and one.is_file())


def _held(loaded: Loaded, profile: str) -> Loaded:
    """A file held against a profile of its project too."""
    from dataclasses import replace

    from tradewind.cli.plan import planned
    from tradewind.errors import TradewindError

    if loaded.pipeline is None:
        return loaded
    try:
        planned(loaded.path, profile)
    except TradewindError as error:
        return replace(loaded, pipeline=None, problems=(*loaded.problems, *error.problems))
    return loaded


def _summary(files: int, wrong: int, errors: int, warnings: int) -> str:
    if not files:
        return "no pipelines found: a folder's .yaml and .yml files are its pipelines"
    tail = f", {warnings} warning{'s' * (warnings != 1)}" if warnings else ""
    if not errors:
        return f"{files} pipeline{'s' * (files != 1)} checked: all right{tail}"
    return f"{files} pipeline{'s' * (files != 1)} checked: {wrong} wrong, {errors} error{'s' * (errors != 1)}{tail}"


def _key(problem: Problem) -> str:
    return problem.model_dump_json()


def _from_here(problem: Problem, loaded: Any) -> Problem:
    """The problem with its file as seen from the current folder, so that a terminal can open it."""
    if problem.file is None or Path(problem.file).is_absolute():
        return problem
    from tradewind.spec.load import root_of

    return problem.model_copy(update={"file": _shown(root_of(loaded.path) / problem.file)})


def _shown(path: Path) -> str:
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)
