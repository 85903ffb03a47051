"""Counts what this process asks of Kubernetes by its asynchronous client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from aiohttp.streams import StreamReader
from kubernetes_asyncio.client.rest import RESTClientObject


def kind(url: str, query: Any) -> str:
    """Of a request: what is asked for."""
    if url.endswith("/log"):
        return "log"
    if any(name == "watch" for name, _ in query or ()):
        return "watch"
    place = url.partition("/v1/")[2].split("/")
    return place[2] if place[0] == "namespaces" else place[0]


@dataclass
class Traffic:
    """So far: requests by kind, connections, and bytes of answers."""

    requests: Counter[str] = field(default_factory=Counter)
    clients: int = 0
    received: int = 0

    def minus(self, before: Traffic) -> Traffic:
        """Since then."""
        return Traffic(self.requests - before.requests, self.clients - before.clients, self.received - before.received)

    def copy(self) -> Traffic:
        """As it is now."""
        return Traffic(Counter(self.requests), self.clients, self.received)


@contextmanager
def counted() -> Iterator[Traffic]:
    """All that goes on within it."""
    traffic = Traffic()
    ask, feed, make = RESTClientObject.request, StreamReader.feed_data, RESTClientObject.__init__

    def asking(self: Any, method: str, url: str, query_params: Any = None, **rest: Any) -> Any:
        traffic.requests[kind(url, query_params)] += 1
        return ask(self, method, url, query_params=query_params, **rest)

    def feeding(self: Any, data: bytes, *rest: Any) -> Any:
        traffic.received += len(data)
        return feed(self, data, *rest)

    def making(self: Any, *given: Any, **rest: Any) -> None:
        traffic.clients += 1
        make(self, *given, **rest)

    with (
        patch.object(RESTClientObject, "request", asking),
        patch.object(StreamReader, "feed_data", feeding),
        patch.object(RESTClientObject, "__init__", making),
    ):
        yield traffic
