"""The whole demo: the stack, the story, and what everyone says of it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from tradewind.demo.airflow import Airflow, DemoError, ticks
from tradewind.demo.closing import Closing
from tradewind.demo.data import arrive, given_to
from tradewind.demo.lines import Line, as_json, collect
from tradewind.demo.memory import Memory
from tradewind.demo.say import Say
from tradewind.demo.story import CHAPTERS, MONITOR, PIPELINE, ROLLOUT, Chapter, Story
from tradewind.demo.traffic import Traffic
from tradewind.dev.credentials import credentials
from tradewind.dev.memory import GIB
from tradewind.dev.servers.airflow import USER
from tradewind.dev.stack import connections, recorded_ports
from tradewind.errors import TradewindError
from tradewind.profile import home, load_profile, project_root
from tradewind_runtime.connections import Connection
from tradewind_runtime.lake import Lake


def play() -> int:
    """Start the stack, tell the story, ask everyone what happened; 0 where all is as promised."""
    say, project = Say(), project_root()
    with Memory(home(project)) as memory:
        say.heading("the stack")
        if code := _up():
            return code
        lines = [*_played(say, project), _parts()]
    seconds = time.monotonic() - say.began
    lines += [memory.line(), Line("time", "this machine", f"{seconds:.0f} s", ok=True)]
    say.heading("what happened, asked of the systems themselves")
    say.console.print(_table(lines))
    out = project / "build" / "demo.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(as_json(lines, seconds=round(seconds, 1), memory_gb=round(memory.peak / GIB, 2)))
    ok = all(line.ok for line in lines)
    say.line(
        f"{'All is as promised' if ok else 'Something is not as promised'}; {seconds:.0f} s; build/demo.json. "
        "The stack stays up: look around, then `make down`."
    )
    return 0 if ok else 1


def _played(say: Say, project: Path) -> list[Line]:
    """The story and what everyone says of it."""
    place = home(project)
    given = {id: Connection.parse(id, text) for id, text in connections(place).items()}
    profile = load_profile(project=project)
    url = f"http://{profile.host}:{recorded_ports(place)['airflow']}"
    airflow = Airflow(url, USER, credentials(place / "run").airflow_password)
    lake = Lake(profile.lake.uri)
    traffic = Traffic(lake, given["serving_default"].http(), PIPELINE)
    kafka = given["kafka_default"].extra["bootstrap.servers"]

    def arrives(chapter: Chapter) -> dict[str, Any]:
        with say.progress("arrived") as produced:
            counts = arrive(chapter.name, *chapter.arrival, kafka=kafka, s3=given["s3_default"], on_progress=produced)
        return counts.facts()

    try:
        _await_dags(airflow)
        Story(airflow, traffic, say, arrives).tell()
        story = Line("the story", "the demo", "told to its end", ok=True)
    except (DemoError, TradewindError) as error:
        story = Line("the story", "the demo", str(error), ok=False)
        say.line(f"[red]{escape(str(error))}[/red]")
    closing = Closing(
        airflow,
        lake,
        traffic,
        mlflow=given["mlflow_default"].http(),
        slack=str(given["slack_default"].extra["base_url"]).removesuffix("/api/"),
        given=lambda: given_to([chapter.arrival for chapter in CHAPTERS], kafka=kafka),
    )
    return [story, *collect(closing.lines())]


def _parts() -> Line:
    """Shows each part's address and login, and whether all of them are healthy."""
    done = subprocess.run([sys.executable, "-m", "tradewind.cli", "dev", "status"], check=False)
    healthy = done.returncode == 0
    return Line("parts of the stack", "tradewind dev status", "healthy" if healthy else "see above", healthy)


def _up() -> int:
    """Start the stack; its exit code. Ctrl-C reaches it too, and it stops what it has started: wait for that."""
    process = subprocess.Popen([sys.executable, "-m", "tradewind.cli", "dev", "up", "--with", "slack"])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


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
        told = (escape(text) for text in (line.what, line.asked, line.answer))
        table.add_row("[green]✓[/green]" if line.ok else "[red]✗[/red]", *told)
    return table
