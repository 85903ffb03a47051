"""Bring the stack up: each part started when what it needs is healthy, and waited for."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tradewind.dev.files import write_private
from tradewind.dev.memory import budget, suffices
from tradewind.dev.servers.base import Server
from tradewind.dev.servers.s3 import S3
from tradewind.dev.stack import Stack, assign_ports, expand, load, recorded_ports
from tradewind.dev.supervisor import Supervisor
from tradewind.profile import Profile
from tradewind_runtime.contract.errors import Problem, TradewindError

_ALIVE = {"STARTING", "RUNNING", "BACKOFF"}  # supervisord is at it
Say = Callable[[str, str], None]  # a part, and what there is to say of it


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """One `up` or `down` of a stack at a time.

    Raises:
        TradewindError: TW315 where another is at it.
    """
    (home / "run").mkdir(parents=True, exist_ok=True)
    with (home / "run" / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TradewindError(
                Problem(code="TW315", message="another `tradewind dev` is at work on this stack", fix="wait for it")
            ) from error
        yield


@dataclass
class Ascent:
    """One `up`: what it has started, so that it can take it back."""

    project: Path
    home: Path
    profile: Profile
    say: Say
    started: list[str] = field(default_factory=list)

    @property
    def supervisor(self) -> Supervisor:
        """Of this stack."""
        return Supervisor(self.home)

    def run(self, names: Iterable[str] | None = None) -> tuple[Stack, dict[str, Server]]:
        """Start what is not running, start again what has changed, and wait until all are healthy.

        Raises:
            TradewindError: TW311 where the whole stack has no room; TW310 where a part ends or takes too long, and
                what this `up` started is stopped then.
        """
        wanted = expand(names if names is not None else self.profile.stack)
        if not set(expand(self.profile.stack)) - set(wanted):
            suffices()
        means = budget()
        alive = {name for name, state in self.supervisor.states().items() if state in _ALIVE}
        if not alive:
            self.supervisor.recover()  # before ports are chosen: a killed stack's remains may hold them
        stack = load(self.project, self.home, self.profile, means, assign_ports(self.home, self.profile, alive))
        servers = stack.servers(wanted)
        write_private(stack.run / "connections.json", json.dumps(stack.connections()))
        self.supervisor.ensure(self.profile.host)
        self._start([server for server in servers.values() if server.name not in alive or self._stale(server)])
        self._await(list(servers.values()))
        return stack, servers

    def _stale(self, server: Server) -> bool:
        if not self.supervisor.changed(server):
            return False
        self.say(server.name, "changed: is started again")
        self.supervisor.stop([server.name])
        return True

    def _start(self, servers: list[Server]) -> None:
        for server in servers:
            self.say(server.name, "starting")
            server.prepare()
            self.started.append(server.name)
            self.supervisor.start(server)

    def _await(self, servers: list[Server]) -> None:
        began = time.monotonic()
        waiting = {server.name: server for server in servers}
        while waiting:
            states = self.supervisor.states()
            for name, server in list(waiting.items()):
                if states.get(name) == "RUNNING" and server.healthy():
                    waiting.pop(name)
                    if name in self.started:
                        self.say(name, f"healthy after {time.monotonic() - began:.0f} s")
                elif states.get(name) in {"FATAL", "EXITED", None}:
                    raise self._failure(name, "ends as soon as it is started")
                elif time.monotonic() - began > server.patience:
                    raise self._failure(name, f"is not healthy after {server.patience:.0f} s")
            time.sleep(0.3 if waiting else 0)

    def _failure(self, name: str, what: str) -> TradewindError:
        log = self.supervisor.log / f"{name}.log"
        tail = log.read_text(errors="replace")[-1500:] if log.is_file() else ""
        fix = f"see `tradewind dev logs {name}`"
        return TradewindError(Problem(code="TW310", message=f"{name} {what}", got=tail, file=str(log), fix=fix))

    def take_back(self) -> None:
        """Stop what this `up` started; all of it where nothing else runs."""
        running = {name for name, state in self.supervisor.states().items() if state == "RUNNING"}
        if running - set(self.started):
            self.supervisor.stop(self.started)
        else:
            down(self.home)


def down(home: Path) -> list[int]:
    """Stop everything with its children; returns the pids of what even so lives."""
    rest = Supervisor(home).shutdown()
    used = recorded_ports(home)
    if set(S3.wants) <= set(used):
        S3(folder=home / "s3", ports=used).tidy()
    (home / "run" / "ports.json").unlink(missing_ok=True)
    return [process.pid for process in rest]
