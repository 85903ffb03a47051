"""Lines between a step and its companions: JSON over TCP, opened by a key that only readers of the lake have.

A line whose other end is gone reads as ended: at once where a process was killed, after DEAD seconds where a node was.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import secrets
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge, wait
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

log = logging.getLogger("tradewind")
DEAD = 20  # seconds
_PROBES = 4
_HANDSHAKE = 10  # seconds that a caller has to show the key
#: A caller that its step does not know yet asks again: a pod's network may come later than the pod.
_CALLING = 60


class Pipe(Protocol):
    """What leads to a worker: a line, or a pipe of this machine's own."""

    def send(self, value: Any, /) -> None:
        """Say it."""

    def recv(self) -> Any:
        """What the other end says."""

    def poll(self, timeout: float | None = 0.0, /) -> bool:
        """Whether there is something to hear."""

    def close(self) -> None:
        """Hang up."""

    def fileno(self) -> int:
        """For `heard`."""


Some = TypeVar("Some", bound=Pipe)


def heard(pipes: Iterable[Some], timeout: float | None = None) -> list[Some]:
    """Those that have something to say, or have ended; waits for the first."""
    by_number = {pipe.fileno(): pipe for pipe in pipes}
    return [by_number[number] for number in wait(list(by_number), timeout) if isinstance(number, int)]


class Line:
    """One end of a line."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """For `wait`."""
        return self._connection.fileno()

    def send(self, value: Any) -> None:
        """Say it.

        Raises:
            OSError: where the other end is gone.
        """
        with self._sending:
            self._connection.send_bytes(json.dumps(value).encode())

    def recv(self) -> Any:
        """What the other end says, waiting for it.

        Raises:
            EOFError: where the other end is gone, or OSError.
        """
        return json.loads(self._connection.recv_bytes())

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Whether there is something to hear, the end too."""
        return self._connection.poll(timeout)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def claimed(self) -> str:
        """An address of this end's own, as the other knows its host."""
        with socket.socket(fileno=os.dup(self.fileno())) as again:
            return claimed(str(again.getsockname()[0]))

    def on_end(self, action: Callable[[], None]) -> None:
        """Act as soon as the other end is gone, whatever this one is doing. Linux alone tells of it so early."""
        if not hasattr(select, "POLLRDHUP"):
            return

        def watch() -> None:
            poller = select.poll()
            poller.register(self.fileno(), select.POLLRDHUP)
            poller.poll()
            action()

        threading.Thread(target=watch, name="line-watch", daemon=True).start()


@dataclass
class Switchboard:
    """Where a step's companions call.

    Args:
        host: the address that it listens on, and that they know.
    """

    host: str
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _calls: queue.SimpleQueue[tuple[int, Line]] = field(default_factory=queue.SimpleQueue, init=False, repr=False)
    _server: socket.socket | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        self._server = socket.create_server((self.host, 0), backlog=128)
        threading.Thread(target=self._accept, args=(self._server,), name="switchboard", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            with suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)  # else the thread would wait in `accept` for ever
            self._server.close()

    @property
    def port(self) -> int:
        """That it listens on."""
        assert self._server is not None, "it is open"
        return int(self._server.getsockname()[1])

    def calls(self, timeout: float = 0.0) -> list[tuple[int, Line]]:
        """Who has called since: numbers and lines. Waits so long for the first."""
        found = []
        with suppress(queue.Empty):
            found.append(self._calls.get(timeout=timeout) if timeout else self._calls.get_nowait())
            while True:
                found.append(self._calls.get_nowait())
        return found

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._greet, args=(caller,), daemon=True).start()

    def _greet(self, caller: socket.socket) -> None:
        """Whoever has no key is no companion; a port scan is none either."""
        limit = struct.pack("ll", _HANDSHAKE, 0)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        try:
            connection = _connection(caller)
            deliver_challenge(connection, self.key)
            answer_challenge(connection, self.key)
            line = Line(connection)
            index = int(line.recv()["index"])
        except (OSError, EOFError, AuthenticationError, ValueError, TypeError, KeyError) as error:
            log.warning("a call that came from no companion: %s", type(error).__name__)
            return
        with socket.socket(fileno=os.dup(line.fileno())) as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 0))
        self._calls.put((index, line))


def claimed(host: str) -> str:
    """HOST:PORT where nobody listens, and nobody else is likely to before the caller does."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def call(host: str, port: int, key: bytes, index: int) -> Line:
    """A companion's end of a line.

    Raises:
        OSError: where nobody answers.
    """
    for left in reversed(range(_CALLING)):
        try:
            connection = _connection(socket.create_connection((host, port), timeout=_HANDSHAKE))
            break
        except OSError:
            if not left:
                raise
            threading.Event().wait(1)
    answer_challenge(connection, key)
    deliver_challenge(connection, key)
    line = Line(connection)
    line.send({"index": index})
    return line


def _connection(end: socket.socket) -> Connection:
    end.settimeout(None)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    every = DEAD // _PROBES
    for name, value in {
        "TCP_KEEPIDLE": every, "TCP_KEEPINTVL": every, "TCP_KEEPCNT": _PROBES - 1, "TCP_USER_TIMEOUT": DEAD * 1000,
    }.items():  # fmt: skip
        if hasattr(socket, name):
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return Connection(end.detach())
