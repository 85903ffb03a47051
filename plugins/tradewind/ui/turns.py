"""Whoever writes through Airflow's API waits for their turn where the database is SQLite, which has room for one.

Airflow's audit log commits in the event loop. Where it has to wait there for a request that writes, that request waits
for it too, since it needs the loop for its own commit: until SQLite gives up, and one of the two is an error 500.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Turns:
    """ASGI middleware: one request that may write at a time, in the order in which they came."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] in READING:
            await self._app(scope, receive, send)
            return
        async with self._turn:
            await self._app(scope, receive, send)
