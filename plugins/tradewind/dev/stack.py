"""The stack that a profile asks for: its servers, their ports and the connections to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tradewind.dev import ports as addresses
from tradewind.dev.credentials import Credentials, credentials
from tradewind.dev.files import write_private
from tradewind.dev.memory import Budget
from tradewind.dev.servers.airflow import PARTS as AIRFLOW
from tradewind.dev.servers.airflow import AirflowPart
from tradewind.dev.servers.base import Server
from tradewind.dev.servers.kafka import Kafka
from tradewind.dev.servers.mlflow import MLflow
from tradewind.dev.servers.s3 import S3
from tradewind.dev.servers.serving import Serving
from tradewind.dev.servers.slack import Slack
from tradewind.profile import Profile
from tradewind_runtime.contract.errors import Problem, TradewindError

# What a profile's `stack:` may name, in the order of starting: Airflow is told of all the others.
PARTS: dict[str, tuple[type[Server], ...]] = {
    "kafka": (Kafka,), "s3": (S3,), "mlflow": (MLflow,), "serving": (Serving,), "slack": (Slack,), "airflow": AIRFLOW,
}  # fmt: skip
NAMES = tuple(part.name for parts in PARTS.values() for part in parts)


def connections(home: Path) -> dict[str, str]:
    """The stack's connections as Airflow's JSON, by id; none where it was never up."""
    path = home / "run" / "connections.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


@dataclass(frozen=True)
class Stack:
    """One project's servers on this machine."""

    project: Path
    home: Path
    profile: Profile
    ports: Mapping[str, int]
    budget: Budget
    credentials: Credentials = field(repr=False)

    @property
    def run(self) -> Path:
        """Where what is running is written down."""
        return self.home / "run"

    def servers(self, names: Iterable[str] | None = None) -> dict[str, Server]:
        """The parts by name; `names` as in a profile's `stack:`, or of single parts."""
        wanted = expand(names if names is not None else self.profile.stack)
        made = {name: self._made()[name]() for name in wanted}
        return {name: made[name] for name in NAMES if name in made}

    def _made(self) -> dict[str, Callable[[], Server]]:
        common = {"ports": self.ports, "host": self.profile.host}
        place: dict[str, dict[str, Any]] = {name: {"folder": self.home / name, **common} for name in PARTS}
        serving = self.profile.environments.get("serving")
        python: dict[str, Any] = {"python": serving.python} if serving and serving.python else {}
        others: dict[str, Callable[[], Server]] = {
            "kafka": lambda: Kafka(heap_mb=self.budget.kafka_heap_mb, **place["kafka"]),
            "s3": lambda: S3(key=self.credentials.s3_key, secret=self.credentials.s3_secret, **place["s3"]),
            "mlflow": lambda: MLflow(**place["mlflow"]),
            "serving": lambda: Serving(
                lake=self.profile.lake.uri,
                lake_connection=self.profile.lake.connection,
                given=others["s3"]().connections(),
                **python,
                **place["serving"],
            ),
            "slack": lambda: Slack(token=self.credentials.slack_token, **place["slack"]),
        }

        def airflow(part: type[AirflowPart]) -> Server:
            given = {id: text for make in others.values() for id, text in make().connections().items()}
            return part(
                project=self.project, profile=self.profile.profile, pool=self.profile.pool, given=given,
                credentials=self.credentials, parallelism=self.budget.parallelism,
                spark_memory=self.budget.spark_memory, **place["airflow"],
            )  # fmt: skip

        return others | {part.name: partial(airflow, part) for part in AIRFLOW}

    def connections(self) -> dict[str, str]:
        """To every part, by id."""
        return {id: text for server in self.servers(PARTS).values() for id, text in server.connections().items()}


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Names of parts; `airflow` stands for its four.

    Raises:
        TradewindError: TW312 for a name that there is not.
    """
    found: dict[str, None] = {}
    for name in names:
        parts = [part.name for part in PARTS[name]] if name in PARTS else [name] if name in NAMES else None
        if parts is None:
            raise TradewindError(
                Problem(
                    code="TW312",
                    message=f"no part of the stack is called {name!r}",
                    expected=", ".join([*PARTS, *NAMES]),
                )
            )
        found |= dict.fromkeys(parts)
    return tuple(found)


def recorded_ports(home: Path) -> dict[str, int]:
    """The ports of the last `up`; none after a `down`."""
    path = home / "run" / "ports.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def assign_ports(home: Path, profile: Profile, running: Iterable[str]) -> dict[str, int]:
    """A port for every use: kept while its part runs, else the recorded, the wanted or a free one."""
    recorded = recorded_ports(home)
    kept = {
        use: recorded[use]
        for parts in PARTS.values() for part in parts if part.name in set(running)
        for use in part.wants if use in recorded
    }  # fmt: skip
    wanted: dict[str, int | None] = {
        use: recorded.get(use) or profile.ports.get(use) or usual
        for parts in PARTS.values() for part in parts for use, usual in part.wants.items() if use not in kept
    }  # fmt: skip
    chosen = kept | addresses.choose(wanted, kept.values(), profile.host)
    write_private(home / "run" / "ports.json", json.dumps(chosen, indent=1))
    return chosen


def load(project: Path, home: Path, profile: Profile, budget: Budget, ports: Mapping[str, int]) -> Stack:
    """The stack on these ports, with its secrets."""
    return Stack(project, home, profile, ports, budget, credentials(home / "run"))
