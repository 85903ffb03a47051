"""`tradewind lake`: tables, their versions, and whether all that was read is there once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Tables of the lake.",
    epilog="Example: tradewind lake show flight-delays/features",
)
_Format = Annotated[Literal["text", "json"], typer.Option("--format", help="text or json.")]
_Profile = Annotated[str | None, typer.Option(help="Of profiles/; TRADEWIND_PROFILE or local by default.")]
_Table = Annotated[str, typer.Argument(help="PIPELINE/NAME.")]
_Some = Annotated[str | None, typer.Argument(help="PIPELINE/NAME; all tables if not given.")]


@app.command("ls")
def ls(format: _Format = "text", profile: _Profile = None) -> None:
    """List tables with their newest version and rows.

    Example: tradewind lake ls
    """
    from tradewind.cli.systems import lake

    opened = lake(profile)
    snapshots = [(name, opened.table(name).snapshot()) for name in opened.tables()]
    rows = [
        {"table": name, "version": found.version, "rows": found.count(), "files": len(found.files)}
        for name, found in snapshots
    ]
    _print(rows, format, "tables", "There is no table yet: run a pipeline.")


@app.command("show")
def show(
    table: _Table,
    version: Annotated[int | None, typer.Option(help="Of the table; the newest by default.")] = None,
    limit: Annotated[int, typer.Option(help="Rows to show.")] = 10,
    format: _Format = "text",
    profile: _Profile = None,
) -> None:
    """Show columns and the first rows of a table.

    Example: tradewind lake show flight-delays/flights --limit 3
    """
    snapshot = _table(table, profile).snapshot(version)
    head = snapshot.dataset().head(limit).to_pylist()
    columns = [{"column": field.name, "type": str(field.type)} for field in snapshot.schema]
    if format == "json":
        body = {
            "ok": True,
            "table": table,
            "version": snapshot.version,
            "rows": snapshot.count(),
            "columns": columns,
            "head": head,
        }
        typer.echo(json.dumps(body, default=str))
        return
    typer.echo(f"{table} version {snapshot.version}: {snapshot.count():,} rows")
    _print(columns, "text", "", "")
    _print(head, "text", "", "It has no rows.")


@app.command("history")
def history(table: _Table, format: _Format = "text", profile: _Profile = None) -> None:
    """Show a table's commits, newest first, with the run that made each and how far it moved its sources.

    Example: tradewind lake history flight-delays/flights_raw
    """
    rows = []
    for commit in _table(table, profile).history():
        moves = {id: {"from": move.before, "to": move.after} for id, move in commit.moves.items()}
        rows.append(
            {
                "version": commit.version,
                "time": commit.time.isoformat(" ", "seconds"),
                "operation": commit.operation,
                "run": commit.told.get("run", ""),
                "rows": commit.told.get("rows", ""),
                "positions": moves if format == "json" else _moved(moves),
            }
        )
    _print(rows, format, "commits", "It has no commits.")


@app.command("verify")
def verify(
    table: Annotated[str | None, typer.Argument(help="PIPELINE/NAME of an ingested table; all if not given.")] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="A pipeline's YAML: its broker and stores are asked what they still hold."
        ),
    ] = None,
    format: _Format = "text",
    profile: _Profile = None,
) -> None:
    """Count each source's rows against its positions: exit code 1 where any is there twice, lost, or beyond them.

    Example: tradewind lake verify --against dags/pipelines/flight_delays.yaml
    """
    from tradewind.cli.asking import verified
    from tradewind.cli.systems import lake
    from tradewind_runtime.verify import verify_table

    if against is not None:
        lines = list(verified(against, table, profile))
    else:
        opened = lake(profile)
        names = [_table(table, profile).name] if table else [name for name in opened.tables() if name.endswith("_raw")]
        lines = [line for name in names for line in verify_table(opened, name)]
    ok = all(line.ok for line in lines)
    unasked = None if against else {"lost", "expired", "unknown", "unread", "examples"}
    rows = [line.model_dump(exclude=unasked) for line in lines]
    if format == "json":
        typer.echo(json.dumps({"ok": ok, "sources": rows}))
    else:
        _print(rows, "text", "", "Nothing has been ingested yet.")
    raise typer.Exit(0 if ok else 1)


@app.command("replay")
def replay(
    file: Annotated[Path, typer.Argument(help="The pipeline's YAML, as it is now.")],
    source: Annotated[str, typer.Argument(help="One of its sources, of Kafka.")],
    mended: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help='JSON lines of {"source", "position", "content"}: other contents of refused messages.',
        ),
    ] = None,
    format: _Format = "text",
    profile: _Profile = None,
) -> None:
    """Read a source's refused messages again: those that are good now become rows, once, and leave the quarantine.

    Example: tradewind lake replay dags/pipelines/flight_delays.yaml flights --mended mended.jsonl
    """
    from tradewind.cli.replaying import replayed

    done = replayed(file, source, mended, profile)
    if format == "json":
        typer.echo(json.dumps({"ok": True, **done.model_dump()}))
        return
    typer.echo(f"{done.rows:,} rows are in the table now, {done.left:,} messages are still refused")
    reasons = sorted(done.reasons.items(), key=lambda one: -one[1])
    _print([{"messages": count, "reason": reason} for reason, count in reasons[:20]], "text", "", "")


@app.command("compact")
def compact(table: _Some = None, format: _Format = "text", profile: _Profile = None) -> None:
    """Put small files together; no row changes, and older versions stay as they are.

    Example: tradewind lake compact flight-delays/flights
    """
    from tradewind.cli.systems import lake
    from tradewind_runtime import maintenance

    opened = lake(profile)
    done = [maintenance.compact(opened, name).model_dump() for name in _names(table, profile)]
    _print(done, format, "tables", "There is no table yet: run a pipeline.")


@app.command("vacuum")
def vacuum(
    table: _Some = None,
    days: Annotated[float, typer.Option(min=2, help="Versions of so many days stay whole.")] = 7,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing, only count.")] = False,
    format: _Format = "text",
    profile: _Profile = None,
) -> None:
    """Delete files of old versions; those that a registered model or a run with a lease stands on stay.

    Example: tradewind lake vacuum --days 30 --dry-run
    """
    from tradewind.cli.systems import lake
    from tradewind_runtime import maintenance

    opened = lake(profile)
    names, pins = _names(table, profile), maintenance.pinned(opened.documents)
    found = (maintenance.vacuum(opened, name, pins, days=days, dry_run=dry_run) for name in names)
    _print([one.model_dump() for one in found], format, "tables", "There is no table yet: run a pipeline.")


def _names(table: str | None, profile: str | None) -> list[str]:
    """One that is named and there, else all."""
    from tradewind.cli.systems import lake

    return sorted(lake(profile).tables()) if table is None else [_table(table, profile).name]


def _moved(moves: dict[str, dict[str, int | None]], most: int = 4) -> str:
    """For people: the first few."""
    told = [f"{id} {'new' if move['from'] is None else move['from']}→{move['to']}" for id, move in moves.items()]
    return ", ".join(told[:most]) + (f" and {len(told) - most} more" if len(told) > most else "")


def _table(name: str, profile: str | None) -> Any:
    """One that is there.

    Raises:
        TradewindError: TW341 where there is none.
    """
    from tradewind.cli.systems import lake
    from tradewind.cli.telling import unknown

    opened = lake(profile)
    table = opened.table(name)
    if not table.exists():
        raise unknown(f"the lake has no table {name!r}", name, list(opened.tables()))
    return table


def _print(rows: list[dict[str, Any]], format: str, what: str, nothing: str) -> None:
    if format == "json":
        typer.echo(json.dumps({"ok": True, what: rows}, default=str))
    elif rows:
        from tradewind.cli.telling import show

        show(rows)
    else:
        typer.echo(nothing)
