"""Ports of an address of this machine, mostly the loopback: the one that is wanted, or a free one where it is taken."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

LOOPBACK = "127.0.0.1"


def answers(port: int, host: str = LOOPBACK) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could have this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return not answers(port, host)  # macOS lets one bind beside a listener on all interfaces


def choose(wanted: Mapping[str, int | None], taken: Iterable[int] = (), host: str = LOOPBACK) -> dict[str, int]:
    """A port for each name: the wanted one if it is free and given to nobody here, else any."""
    given = set(taken)
    chosen: dict[str, int] = {}
    for name, port in wanted.items():
        mine = port if port and port not in given and free(port, host) else _any(given, host)
        given.add(mine)
        chosen[name] = mine
    return chosen


def _any(given: set[int], host: str) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if port not in given:
            return port
