"""The model server, in the environment of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tradewind.dev.servers.base import Server, answer
from tradewind_runtime.connections import variable


@dataclass(frozen=True, kw_only=True)
class Serving(Server):
    """It answers for every endpoint that the lake names."""

    name: ClassVar[str] = "serving"
    title: ClassVar[str] = "Model server"
    wants: ClassVar[Mapping[str, int | None]] = {"serving": 8085}

    lake: str
    lake_connection: str | None = None
    given: Mapping[str, str] = field(default_factory=dict, repr=False)  # connections, id → JSON
    python: str = sys.executable

    @property
    def address(self) -> str:  # noqa: D102
        return f"http://{self.host}:{self.ports['serving']}"

    def command(self) -> list[str]:  # noqa: D102
        connection = ["--lake-connection", self.lake_connection] if self.lake_connection else []
        return [
            self.python, "-m", "tradewind_runtime.serving", "--lake", self.lake, *connection,
            "--host", self.host, "--port", str(self.ports["serving"]),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """A model answers in less than a millisecond; its threads would only stand in each other's way."""
        id = self.lake_connection
        given = {variable(id): self.given[id]} if id and id in self.given else {}
        return {"OMP_NUM_THREADS": "1", **given}

    def healthy(self) -> bool:
        """The V2 protocol's own question."""
        return answer(f"{self.address}/v2/health/live") is not None

    def connections(self) -> dict[str, str]:  # noqa: D102
        body = {"conn_type": "http", "host": self.host, "port": self.ports["serving"], "schema": "http"}
        return {"serving_default": json.dumps(body)}
