"""Ports of the loopback: the one that is wanted, or a free one where it is taken."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

LOOPBACK = "127.0.0.1"


def answers(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((LOOPBACK, port)) == 0


def free(port: int) -> bool:
    """Whether a server could have this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return not answers(port)  # macOS lets one bind beside a listener on all interfaces


def choose(wanted: Mapping[str, int | None], taken: Iterable[int] = ()) -> dict[str, int]:
    """A port for each name: the wanted one if it is free and given to nobody here, else any."""
    given = set(taken)
    chosen: dict[str, int] = {}
    for name, port in wanted.items():
        mine = port if port and port not in given and free(port) else _any(given)
        given.add(mine)
        chosen[name] = mine
    return chosen


def _any(given: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if port not in given:
            return port
