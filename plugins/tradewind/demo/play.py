"""The whole demo: the stack, the story, and what everyone says of it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from tradewind.demo.airflow import Airflow, DemoError, ticks
from tradewind.demo.closing import Closing, Line, as_json, collect
from tradewind.demo.data import arrive
from tradewind.demo.say import Say
from tradewind.demo.story import MONITOR, PIPELINE, ROLLOUT, Chapter, Story
from tradewind.demo.traffic import Traffic
from tradewind.dev.credentials import credentials
from tradewind.dev.servers.airflow import USER
from tradewind.dev.stack import connections
from tradewind.errors import TradewindError
from tradewind.profile import home, load_profile, project_root
from tradewind_runtime.connections import Connection
from tradewind_runtime.lake import Lake


def play() -> int:
    """Start the stack, tell the story, ask everyone what happened; 0 where all is as promised."""
    say = Say()
    project = project_root()
    say.heading("the stack")
    if code := _up():
        return code
    place = home(project)
    given = {id: Connection.parse(id, text) for id, text in connections(place).items()}
    airflow = Airflow(given_url(place), USER, credentials(place / "run").airflow_password)
    lake = Lake(load_profile(project=project).lake.uri)
    traffic = Traffic(lake, given["serving_default"].http(), PIPELINE)

    def arrives(chapter: Chapter) -> dict[str, Any]:
        window = chapter.window
        since = window.start.fromisoformat(f"{chapter.since}T00:00:00+00:00")
        kafka = given["kafka_default"].extra["bootstrap.servers"]
        with say.progress("arrived") as produced:
            counts = arrive(chapter.name, since, window.end, kafka=kafka, s3=given["s3_default"], on_progress=produced)
        return counts.facts()

    try:
        _await_dags(airflow)
        Story(airflow, traffic, say, arrives).tell()
        failure = None
    except (DemoError, TradewindError) as error:
        failure = str(error)
        say.line(f"[red]{failure}[/red]")
    closing = Closing(airflow, lake, traffic, given["mlflow_default"].http(), place / "slack" / "messages.jsonl")
    say.heading("what happened, asked of the systems themselves")
    lines = collect(closing.lines(), lambda _: None)
    say.console.print(_table(lines))
    seconds = time.monotonic() - say.began
    ok = failure is None and all(line.ok for line in lines)
    out = project / "build" / "demo.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(as_json(lines, seconds=round(seconds, 1), failure=failure))
    subprocess.run([sys.executable, "-m", "tradewind.cli", "dev", "status"], check=False)
    say.line(
        f"{'All is as promised' if ok else 'Something is not as promised'}; {seconds:.0f} s; build/demo.json. "
        "The stack stays up: look around, then `make down`."
    )
    return 0 if ok else 1


def _up() -> int:
    """Start the stack; its exit code. Ctrl-C reaches it too, and it stops what it has started: wait for that."""
    process = subprocess.Popen([sys.executable, "-m", "tradewind.cli", "dev", "up", "--with", "slack"])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def given_url(place: Path) -> str:
    """Where Airflow listens."""
    from tradewind.dev.stack import recorded_ports

    return f"http://127.0.0.1:{recorded_ports(place)['airflow']}"


def _await_dags(airflow: Airflow) -> None:
    for _ in ticks(90):
        if {PIPELINE, ROLLOUT, MONITOR} <= airflow.dag_ids():
            return
        if errors := airflow.import_errors():
            raise DemoError("\n".join(error["stack_trace"] for error in errors))
    msg = "the pipeline's DAGs did not appear within 90 s; see `tradewind dev logs dag-processor`"
    raise DemoError(msg)


def _table(lines: list[Line]) -> Table:
    table = Table()
    for column in ("", "what", "asked of", "answer"):
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row("[green]✓[/green]" if line.ok else "[red]✗[/red]", line.what, line.asked, line.answer)
    return table
