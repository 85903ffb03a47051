"""Runs of the two sources, attempt after attempt, as Airflow would try them again, with somebody who kills."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from obstore.exceptions import BaseError

from bench.soak.points import ONLY, POINTS
from bench.soak.world import LANDING, TOPIC
from tradewind_runtime.connections import Connection, store_options
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.pins import IngestConfig
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Lake
from tradewind_runtime.launchers.exchange import Exchange
from tradewind_runtime.sources import Access, reader

T = TypeVar("T")
COLUMNS = {"id": "long", "note": "string"}
#: As a pipeline's YAML has them.
BLOCKS: dict[str, dict[str, Any]] = {
    "orders": {"kafka": {"topic": TOPIC}, "columns": COLUMNS, "max_bad": 0.5},
    "lists": {"objects": {"uri": f"s3://{LANDING}/in/*.csv", "connection": "s3_default"}, "columns": COLUMNS},
}
SOURCES = {name: Source.model_validate(block) for name, block in BLOCKS.items()}
KILLS_A_RUN = 4
CHUNK = 700  # rows, so that a run has several
FAILURES = 20  # of one run, while a server is away
MISSES = 8  # attempts in a row that ended before they came to a point
CHANGED = "TW526"  # an object was written again between its pinning and its reading: the next run's matter
PATIENCE = 300.0  # seconds for one attempt


@dataclass
class Attempts:
    """What was tried and how it ended."""

    lake: str
    connections: dict[str, str]
    troubled: Callable[[float], bool]
    points: tuple[str, ...] = POINTS
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    kills: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    amiss: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def missed(self) -> list[str]:
        """Points at which nobody has died yet."""
        return [point for point in self.points if not self.kills[point]]

    def run(self, name: str, kills: int) -> None:
        """One run of a source: killed a few times at most, then until it is done."""
        number = next(self.numbers)
        request = self._request(name, f"r{number}")
        exchange = Exchange(request, Lake(self.lake, self._connection()).documents)
        left, failures = min(kills, KILLS_A_RUN), 0
        while True:
            began = time.monotonic()
            how = self._way(name) if left else "none"
            code = self._attempt(exchange, how)
            if code == -9:
                self.kills[how] += 1
                left -= 1
                continue
            self.misses[how] += how in POINTS
            if code == 0:
                self.ended["done"] += 1
                return
            error = _patiently(partial(exchange.reason, "ended"))
            code = error.problems[0].code
            self.ended[code] += 1
            if code == CHANGED:
                return
            failures += 1
            # Only what comes of a server that is away may fail.
            if not error.retryable or not self.troubled(began) or failures > FAILURES:
                self.amiss.append(f"run {number} of {name}: {error}")
                return

    def _way(self, name: str) -> str:
        """A point that nobody has died at yet, else any, else any moment."""
        kind = SOURCES[name].kind
        mine = [point for point in self.points if ONLY.get(point.partition(" ")[2], kind) == kind]
        first = [point for point in mine if not self.kills[point] and self.misses[point] < MISSES]
        return first[0] if first else self.chance.choice([*mine, "any moment", "any moment", "any moment"])

    def _attempt(self, exchange: Exchange, how: str) -> int:
        """The step's process, by its exit code."""
        _patiently(exchange.begin)
        words = ["--lake", self.lake, "--lake-connection", "s3_default", "--request", exchange.path]
        nth = 1 if not self.kills[how] else self.chance.choice([1, 1, 2, 3])
        program = ["bench.soak.points", how, str(nth)] if how in POINTS else ["tradewind_runtime"]
        process = subprocess.Popen(
            [sys.executable, "-m", *program, *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environment(),
        )  # fmt: skip
        try:
            if how == "any moment":
                try:
                    return process.wait(self.chance.uniform(0.2, 4.0))
                except subprocess.TimeoutExpired:
                    process.kill()
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.amiss.append(f"an attempt took more than {PATIENCE:.0f} s")
            process.kill()
            return process.wait()

    def _request(self, name: str, run: str) -> StepRequest:
        """With its end, which is asked for until broker and store say it."""
        source = SOURCES[name]
        return StepRequest(
            step="ingest", id=f"ingest_{name}", pipeline="soak", run_id=run, lake=self.lake, refresh=run,
            config=IngestConfig(name=name, source=source).model_dump(mode="json"),
            pins={"end": self._end(source)}, settings={"chunk_rows": CHUNK},
            connections=source.connections | {"lake": "s3_default"},
        )  # fmt: skip

    def _end(self, source: Source) -> dict[str, Any]:
        return _patiently(partial(reader(source.kind).end_position, source, self._access(source)))

    def _access(self, source: Source) -> Access:
        id = source.connections["source"]
        given = Connection.parse(id, self.connections[id])
        return Access(Lake(self.lake, self._connection()), connection=given)

    def _connection(self) -> Connection:
        return Connection.parse("s3_default", self.connections["s3_default"])

    def environment(self) -> dict[str, str]:
        """With the connections, as a step's process gets them."""
        return os.environ | {f"AIRFLOW_CONN_{id.upper()}": text for id, text in self.connections.items()}


def _patiently(call: Callable[[], T]) -> T:
    """What broker or store answer, once they are there."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except (StepError, BaseError, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def options(connections: dict[str, str]) -> dict[str, Any]:
    """Obstore's, of the store."""
    return store_options(Connection.parse("s3_default", connections["s3_default"]))


def told(attempts: Attempts) -> dict[str, Any]:
    """Figures of it."""
    return {
        "kills": sum(attempts.kills.values()),
        "kills_at": dict(sorted(attempts.kills.items())),
        "points_never_reached": attempts.missed,
        "ended": dict(attempts.ended),
        "runs": attempts.ended["done"] + attempts.ended[CHANGED],
    }
