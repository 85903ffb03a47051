"""The model server, in the environment of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tradewind.dev import ports
from tradewind.dev.servers.base import Server, answer


@dataclass(frozen=True, kw_only=True)
class Serving(Server):
    """It answers for every endpoint that the lake names."""

    name: ClassVar[str] = "serving"
    title: ClassVar[str] = "Model server"
    wants: ClassVar[Mapping[str, int | None]] = {"serving": 8085}

    lake: str
    python: str = sys.executable

    @property
    def address(self) -> str:  # noqa: D102
        return f"http://{ports.LOOPBACK}:{self.ports['serving']}"

    def command(self) -> list[str]:  # noqa: D102
        return [
            self.python, "-m", "tradewind_runtime.serving", "--lake", self.lake, "--port", str(self.ports["serving"]),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """A model answers in less than a millisecond; its threads would only stand in each other's way."""
        return {"OMP_NUM_THREADS": "1"}

    def healthy(self) -> bool:
        """The V2 protocol's own question."""
        return answer(f"{self.address}/v2/health/live") is not None

    def connections(self) -> dict[str, str]:  # noqa: D102
        body = {"conn_type": "http", "host": ports.LOOPBACK, "port": self.ports["serving"], "schema": "http"}
        return {"serving_default": json.dumps(body)}
