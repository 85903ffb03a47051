"""`tradewind …`: what people and CI type. A command's module is imported when it is typed, not before."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer
import typer.core

#: Command → its line in the help. Each is a module here with a function `command`, or a Typer `app` of several.
COMMANDS: dict[str, str] = {
    "validate": "Check pipelines: every problem with its place and its fix.",
    "plan": "Show the DAGs and steps that a pipeline stands for.",
    "compile": "Write DAG files for an Airflow without our bundle.",
    "schema": "Print the JSON Schema of a pipeline.",
    "run": "Run a pipeline's steps here and now.",
    "dev": "The whole stack on this machine: up, down, status, logs.",
    "lake": "Tables: list, show, history, verify.",
    "checks": "Checks: which fail, since when, and their last results.",
    "sweep": "Sweeps: the trials, the best so far, what matters.",
    "model": "Models: list, show, compare.",
    "deploy": "Endpoints and their rollouts.",
    "doctor": "What is missing on this machine or a cluster, and how to get it.",
}


class _Lazy(typer.core.TyperGroup):
    """Knows its commands by their line of help; the one that was typed is imported."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, _imported(name) if name and command else command, rest


def _imported(name: str) -> Any:
    module = importlib.import_module(f"tradewind.cli.{name}")
    group = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(**_LOOKS)
        group.command(name)(module.command)
    return typer.main.get_command(group)


#: Rich's tracebacks print local variables: connections, for some.
_LOOKS: dict[str, Any] = {"pretty_exceptions_enable": False, "add_completion": False}

app = typer.Typer(
    cls=_Lazy,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="MLOps on Airflow: one YAML file per machine-learning pipeline.",
    epilog="Example: tradewind validate dags/pipelines",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"tradewind {version('tradewind')}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None: ...


for _name, _help in COMMANDS.items():
    app.command(_name, help=_help)(lambda: None)


def main() -> None:
    """The entry point: exit code 0, 1 (found something wrong) or 2 (used wrongly)."""
    try:
        app()
    except Exception as error:
        from tradewind.cli.show import show_problems
        from tradewind.errors import TradewindError

        if not isinstance(error, TradewindError):
            raise
        show_problems(error.problems, as_json=wants_json(sys.argv[1:]))
        sys.exit(1)


def wants_json(arguments: list[str]) -> bool:
    """Whether a machine will read the answer."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(pair == ("--format", "json") or pair[0] == "--format=json" for pair in pairs)
