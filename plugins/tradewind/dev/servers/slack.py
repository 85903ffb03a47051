"""A receiver that speaks Slack's Web API: where the demo's messages go."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tradewind.dev import ports
from tradewind.dev.files import write_private
from tradewind.dev.servers.base import Server


@dataclass(frozen=True, kw_only=True)
class Slack(Server):
    """It keeps each message as a line of JSON."""

    name: ClassVar[str] = "slack"
    title: ClassVar[str] = "Slack receiver"
    wants: ClassVar[Mapping[str, int | None]] = {"slack": 8095}

    token: str = field(default_factory=lambda: f"xoxb-{secrets.token_urlsafe(24)}", repr=False)

    @property
    def address(self) -> str:  # noqa: D102
        return f"http://{self.host}:{self.ports['slack']}"

    @property
    def messages(self) -> Path:
        """Where the messages are kept."""
        return self.folder / "messages.jsonl"

    def prepare(self) -> None:
        """Write whom it believes."""
        super().prepare()
        write_private(self.folder / "token", self.token)

    def command(self) -> list[str]:  # noqa: D102
        return [
            sys.executable, "-m", "tradewind.dev.slack_receiver", "--host", self.host,
            "--port", str(self.ports["slack"]), "--out", str(self.messages), "--token-file", str(self.folder / "token"),
        ]  # fmt: skip

    def healthy(self) -> bool:
        """It listens."""
        return ports.answers(self.ports["slack"], self.host)

    def connections(self) -> dict[str, str]:  # noqa: D102
        extra = {"base_url": f"{self.address}/api/"}
        return {"slack_default": json.dumps({"conn_type": "slack", "password": self.token, "extra": extra})}
