"""The receiver that speaks Slack's Web API, in a process of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tradewind.dev.running import Running, start
from tradewind.dev.servers.slack import Slack


@dataclass
class Receiver:
    """A running receiver."""

    running: Running[Slack]

    @property
    def server(self) -> Slack:
        return self.running.server

    @property
    def connection(self) -> str:
        """As Airflow would hand it to a step."""
        return self.server.connections()["slack_default"]

    def messages(self) -> list[dict[str, Any]]:
        return httpx.get(f"{self.server.address}/messages", trust_env=False).raise_for_status().json()

    def next(self, error: str, **more: Any) -> None:
        """Make the next answers errors."""
        headers = {"Authorization": f"Bearer {self.server.token}"}
        body = {"error": error} | more
        httpx.post(f"{self.server.address}/next", json=body, headers=headers, trust_env=False).raise_for_status()


@contextmanager
def receiver(folder: Path) -> Iterator[Receiver]:
    """Started, and stopped afterwards."""
    with start(Slack.at(folder)) as running:
        yield Receiver(running)


@contextmanager
def given(connection: str, id: str = "slack_default") -> Iterator[None]:
    """A connection in the environment, as a step's process gets it."""
    name = f"AIRFLOW_CONN_{id.upper()}"
    before = os.environ.get(name)
    os.environ[name] = connection
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
