"""`tradewind dev`: the whole stack on this machine."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from tradewind.dev.memory import budget
from tradewind.dev.servers.base import Server
from tradewind.dev.stack import NAMES, PARTS, Stack, expand, load, recorded_ports
from tradewind.dev.supervisor import Supervisor
from tradewind.dev.up import Ascent, down, only_one
from tradewind.errors import Problem, TradewindError
from tradewind.profile import home as home_of
from tradewind.profile import load_profile, project_root

app = typer.Typer(
    no_args_is_help=True,
    help="The whole stack on this machine: up, down, status, logs.",
    pretty_exceptions_enable=False,
)
console = Console(highlight=False, soft_wrap=True)
if not console.is_terminal:
    console.width = 200  # a pipe has no width to cut a table to
Format = Annotated[Literal["text", "json"], typer.Option(help="text or json.")]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@app.command()
def up(
    only: Annotated[str, typer.Option(help=f"These parts alone, by commas: {', '.join(PARTS)}.")] = "",
    also: Annotated[str, typer.Option("--with", help="These parts besides the profile's, such as slack.")] = "",
    format: Format = "text",
) -> None:
    """Start every part of the profile's stack and wait until each is healthy.

    Example: tradewind dev up --only kafka,s3
    """
    project = project_root()
    home = home_of(project)
    profile = load_profile(project=project)
    names = [*(_names(only) or profile.stack), *_names(also)]
    began = time.monotonic()
    ascent = Ascent(project, home, profile, _say if format == "text" else lambda *_: None)
    with only_one(home):
        try:
            with _signals_interrupt():
                stack, servers = ascent.run(names)
        except BaseException as error:
            _take_back(ascent, interrupted=isinstance(error, KeyboardInterrupt))
            raise
    if format == "json":
        typer.echo(json.dumps({"ok": True, "started": ascent.started, "parts": _rows(stack, servers)}))
        return
    _show(stack, servers)
    what = f"started {len(ascent.started)} of" if ascent.started else "was already up:"
    console.print(f"The stack {what} {len(servers)} parts, all healthy ({time.monotonic() - began:.0f} s).")


@app.command("down")
def _down(format: Format = "text") -> None:
    """Stop every part, with whatever it has started.

    Example: tradewind dev down
    """
    home = home_of(project_root())
    supervisor = Supervisor(home)
    with only_one(home):
        try:
            with _signals_interrupt():
                if format == "text":
                    console.print("Stopping the stack…")
                rest = down(home)
        except KeyboardInterrupt:
            rest = [process.pid for process in supervisor.kill()]
    if rest:
        raise TradewindError(Problem(code="TW316", message="some processes cannot be ended", got=rest))
    typer.echo(json.dumps({"ok": True}) if format == "json" else "The stack is down; no process is left.")


@app.command()
def status(format: Format = "text") -> None:
    """Show each part's state, address and login; exit code 1 where one is not healthy.

    Example: tradewind dev status --format json
    """
    project = project_root()
    home = home_of(project)
    profile = load_profile(project=project)
    states = Supervisor(home).states()
    used = recorded_ports(home)
    names = {*expand(profile.stack), *(name for name, state in states.items() if state != "STOPPED")}
    wants = {use: port for parts in PARTS.values() for part in parts for use, port in part.wants.items()}
    stack = load(project, home, profile, budget(), {use: used.get(use) or port or 0 for use, port in wants.items()})
    rows = _rows(stack, stack.servers(sorted(names)))
    ok = all(row["state"] == "healthy" for row in rows)
    if format == "json":
        typer.echo(json.dumps({"ok": ok, "parts": rows}))
    else:
        console.print(_table(rows))
    raise typer.Exit(0 if ok else 1)


@app.command()
def logs(
    part: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}; all by default.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("-n", help="Lines of each to begin with.")] = 40,
) -> None:
    """Show what the parts have printed.

    Example: tradewind dev logs scheduler -f
    """
    folder = Supervisor(home_of(project_root())).log
    files = [folder / f"{name}.log" for name in (expand([part]) if part else NAMES)]
    found = [file for file in files if file.is_file()]
    if not found:
        raise TradewindError(Problem(code="TW317", message="there are no logs yet", fix="start the stack"))
    places = {file: _tail(file, lines, named=len(found) > 1) for file in found}
    while follow:
        time.sleep(0.3)
        places = {file: _more(file, at, named=len(found) > 1) for file, at in places.items()}


def _tail(file: Path, lines: int, *, named: bool) -> int:
    body = file.read_bytes()
    _print(file, body.splitlines()[-lines:], named=named)
    return len(body)


def _more(file: Path, at: int, *, named: bool) -> int:
    size = file.stat().st_size
    with file.open("rb") as opened:
        opened.seek(at if at <= size else 0)  # a shorter file is a new one
        body = opened.read()
        _print(file, body.splitlines(), named=named)
        return opened.tell()


def _print(file: Path, lines: list[bytes], *, named: bool) -> None:
    for line in lines:
        typer.echo(f"{file.stem:14} {line.decode(errors='replace')}" if named else line.decode(errors="replace"))


def _say(part: str, text: str) -> None:
    console.print(f"{part:14} {text}")


def _show(stack: Stack, servers: dict[str, Server]) -> None:
    console.print(_table(_rows(stack, servers)))


def _rows(stack: Stack, servers: dict[str, Server]) -> list[dict[str, Any]]:
    states = Supervisor(stack.home).states()
    return [
        {
            "part": name, "title": server.title, "address": server.address, "login": server.login,
            "state": _state(states.get(name, "STOPPED"), server),
        }
        for name, server in servers.items()
    ]  # fmt: skip


def _state(said: str, server: Server) -> str:
    if said != "RUNNING":
        return said.lower()
    return "healthy" if server.healthy() else "not healthy"


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table()
    for column in ("part", "address", "login", "state"):
        table.add_column(column, overflow="fold")  # a password cut short is none
    for row in rows:
        colour = "green" if row["state"] == "healthy" else "red"
        table.add_row(row["title"], row["address"] or "-", row["login"] or "-", f"[{colour}]{row['state']}[/]")
    return table


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal end an `up` as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _take_back(ascent: Ascent, *, interrupted: bool) -> None:
    """Once stops cleanly; twice kills what was recorded."""
    if interrupted:
        console.print("\nStopping what was started (Ctrl-C again kills it)…")
    try:
        with _signals_interrupt():
            ascent.take_back()
    except KeyboardInterrupt:
        ascent.supervisor.kill()
