"""What a server of the stack is: a command, its ports and environment, and how one sees that it is healthy."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from tradewind.dev.ports import LOOPBACK, choose

# Proxies of the environment are passed over: every part is on the loopback.
_HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answer(url: str, *, timeout: float = 3) -> Any:
    """The JSON (or text) behind a URL of the loopback; None where it does not answer with success."""
    try:
        with _HTTP.open(url, timeout=timeout) as response:
            text = response.read().decode()
    except (OSError, urllib.error.URLError, ValueError):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


@dataclass(frozen=True, kw_only=True)
class Server(ABC):
    """One server. Its files stay below `folder`, its ports on the loopback unless it is told otherwise."""

    name: ClassVar[str]
    title: ClassVar[str] = ""
    wants: ClassVar[Mapping[str, int | None]]  # its ports, and the number that each would like
    needs: ClassVar[tuple[str, ...]] = ()  # healthy before it starts
    patience: ClassVar[float] = 120  # seconds until it must be healthy
    grace: ClassVar[float] = 20  # seconds that it has to end by itself

    folder: Path
    ports: Mapping[str, int] = field(default_factory=dict)
    host: str = LOOPBACK  # the address that it listens on and is known by

    @classmethod
    def at(cls, folder: Path, **more: Any) -> Self:
        """A server of this kind in a folder, on ports that are free now (for tests)."""
        return cls(folder=folder, ports=choose(dict.fromkeys(cls.wants)), **more)

    def prepare(self) -> None:
        """What must be there before it starts; done again harmlessly."""
        self.folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def command(self) -> list[str]:
        """What is started."""

    def environment(self) -> dict[str, str]:
        """What is set for it besides the caller's own environment."""
        return {}

    @abstractmethod
    def healthy(self) -> bool:
        """Whether it does its work, asked in its own protocol."""

    def tidy(self) -> None:  # noqa: B027 - most have nothing to do
        """What is left to do once it has ended."""

    def connections(self) -> dict[str, str]:
        """Airflow connections to it, as JSON, by id."""
        return {}

    @property
    def address(self) -> str:
        """What a person or a client types."""
        return ""

    @property
    def login(self) -> str:
        """Who may enter, where that is asked."""
        return ""
