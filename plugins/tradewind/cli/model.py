"""`tradewind model`: what is in the registry, and what became of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from tradewind_runtime.registries import Version

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Models and their versions.",
    epilog="Example: tradewind model show flight-delays champion",
)
_Model = Annotated[str, typer.Argument(help="The model's name.")]
_Format = Annotated[Literal["text", "json"], typer.Option("--format", help="text or json.")]
_Profile = Annotated[str | None, typer.Option(help="Of profiles/; TRADEWIND_PROFILE or local by default.")]


@app.command("ls")
def ls(
    model: Annotated[str | None, typer.Argument(help="Only this one.")] = None,
    format: _Format = "text",
    profile: _Profile = None,
) -> None:
    """List models and their versions, newest first.

    Example: tradewind model ls --format json
    """
    registry, uri = _registry(profile)
    found = [version for name in ([model] if model else registry.models(uri)) for version in _all(registry, uri, name)]
    if format == "json":
        typer.echo(json.dumps({"ok": True, "versions": [asdict(version) for version in found]}))
        return
    if not found:
        typer.echo("There is no model yet: a pipeline with promote: registers one.")
        return
    rows = [[v.model, v.version, ", ".join(v.aliases), v.digest[:12], v.created, _few(v.metrics)] for v in found]
    _print(["model", "version", "role", "digest", "created", "metrics"], rows)


@app.command("show")
def show(
    model: _Model,
    version: Annotated[str, typer.Argument(help="Its number, champion or challenger.")] = "champion",
    format: _Format = "text",
    profile: _Profile = None,
) -> None:
    """Show one version: metrics, parameters, and all that it came from.

    Example: tradewind model show flight-delays 3
    """
    registry, uri = _registry(profile)
    found = _one(_all(registry, uri, model), model, version)
    if format == "json":
        typer.echo(json.dumps({"ok": True, "version": asdict(found)}))
        return
    rows = [
        ["version", found.version],
        ["role", ", ".join(found.aliases)],
        ["digest", found.digest],
        ["created", found.created],
        ["run", found.run or ""],
    ]
    for part in (found.metrics, found.params, {k: v for k, v in found.tags.items() if k != "tradewind.digest"}):
        rows += [[name.removeprefix("tradewind."), _number(value)] for name, value in sorted(part.items())]
    _print([found.model, ""], rows)


@app.command("compare")
def compare(
    model: _Model,
    first: Annotated[str, typer.Argument(help="A number, champion or challenger.")] = "champion",
    second: Annotated[str, typer.Argument(help="A number, champion or challenger.")] = "challenger",
    format: _Format = "text",
    profile: _Profile = None,
) -> None:
    """Compare two versions: metrics, each on its own test rows, and parameters.

    Example: tradewind model compare flight-delays 1 2
    """
    registry, uri = _registry(profile)
    every = _all(registry, uri, model)
    left, right = (_one(every, model, which) for which in (first, second))
    metrics = {
        name: [left.metrics.get(name), right.metrics.get(name)] for name in sorted({*left.metrics, *right.metrics})
    }
    params = {
        name: [left.params.get(name), right.params.get(name)]
        for name in sorted({*left.params, *right.params})
        if left.params.get(name) != right.params.get(name)
    }
    if format == "json":
        body = {"ok": True, "versions": [left.version, right.version], "metrics": metrics, "params": params}
        typer.echo(json.dumps(body))
        return
    rows = [[name, *map(_number, pair), _difference(pair)] for name, pair in metrics.items()]
    rows += [[name, *map(_number, pair), ""] for name, pair in params.items()]
    _print([model, f"version {left.version}", f"version {right.version}", "difference"], rows)


def _registry(profile: str | None) -> tuple[Any, str]:
    """The registry's module and its address under a profile, as a step would find them."""
    from tradewind.dev.stack import connections
    from tradewind.profile import home, load_profile, project_root
    from tradewind_runtime.connections import Connection, variable
    from tradewind_runtime.registries import registry

    project = project_root()
    chosen = load_profile(profile, project=project).registry
    uri = chosen.uri
    if chosen.connection:
        text = os.environ.get(variable(chosen.connection)) or connections(home(project)).get(chosen.connection)
        if text:
            uri = Connection.parse(chosen.connection, text).http()
    return registry("mlflow"), uri


def _all(registry: Any, uri: str, model: str) -> list[Version]:
    from tradewind_runtime.contract.errors import Problem, TradewindError

    found: list[Version] = registry.versions(uri, model)
    if not found:
        import difflib

        names = registry.models(uri)
        near = difflib.get_close_matches(model, names, 1)
        raise TradewindError(
            Problem(
                code="TW340",
                message=f"there is no model {model!r}",
                expected=", ".join(names) or "none yet",
                suggestion=near[0] if near else None,
            )
        )
    return found


def _one(found: list[Version], model: str, which: str) -> Version:
    from tradewind_runtime.contract.errors import Problem, TradewindError

    for version in found:
        if which == version.version or which in version.aliases:
            return version
    known = ", ".join([*(version.version for version in found), *(a for v in found for a in v.aliases)])
    raise TradewindError(Problem(code="TW341", message=f"model {model!r} has no version {which!r}", expected=known))


def _few(metrics: Mapping[str, float]) -> str:
    kept = [name for name in metrics if not name.startswith(("champion_", "rows", "compared"))]
    return ", ".join(f"{name} {metrics[name]:.4g}" for name in kept[:3])


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def _difference(pair: list[float | None]) -> str:
    return "" if pair[0] is None or pair[1] is None else f"{pair[1] - pair[0]:+.4g}"


def _print(columns: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
