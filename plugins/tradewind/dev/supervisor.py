"""supervisord, which runs the parts: started, asked and ended over its own socket."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tradewind.dev import processes
from tradewind.dev.environment import clean
from tradewind.dev.files import write_private
from tradewind.dev.launch import RUN
from tradewind.dev.ports import LOOPBACK
from tradewind.dev.servers.base import Server
from tradewind.dev.stack import NAMES, PARTS
from tradewind_runtime.contract.errors import Problem, TradewindError

# Folders come by the environment: what supervisord reads from a file has quotes and escapes of its own.
_SETTINGS = """\
[unix_http_server]
file=%(ENV_TRADEWIND_SOCKET)s
chmod=0700

[supervisord]
logfile=%(ENV_TRADEWIND_RUN)s/supervisord.log
pidfile=%(ENV_TRADEWIND_RUN)s/supervisord.pid
nodaemon=true
silent=true

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
_PART = """
[program:{name}]
command="%(ENV_TRADEWIND_PYTHON)s" -m tradewind.dev.launch --part {name}
autostart=false
autorestart=true
startsecs=3
startretries=3
stopwaitsecs={grace:.0f}
killasgroup=true
redirect_stderr=true
stdout_logfile=%(ENV_TRADEWIND_LOG)s/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
"""
_SOCKET_LIMIT = 85  # 104 on macOS, and supervisord adds its own ending


def socket_path(run: Path) -> Path:
    """In the stack's own folder, or where that is too long in a folder of ours below the temporary one."""
    path = run / "supervisor.sock"
    if len(os.fsencode(path)) <= _SOCKET_LIMIT:
        return path
    name = hashlib.sha256(os.fsencode(run)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"tradewind-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise TradewindError(
            Problem(code="TW313", message=f"{folder} is not ours", fix="give TRADEWIND_HOME a shorter path")
        )
    folder.chmod(0o700)
    return folder / "s.sock"


@dataclass(frozen=True)
class Supervisor:
    """The supervisor of one stack; `home` is the stack's folder."""

    home: Path

    @property
    def run(self) -> Path:
        """Where its files are."""
        return self.home / "run"

    @property
    def log(self) -> Path:
        """Where the parts' logs are."""
        return self.home / "log"

    @property
    def mark(self) -> str:
        """What all processes of this stack carry."""
        return str(self.home.resolve())

    def _recorded(self) -> dict[str, Any] | None:
        """The last supervisor's pid and start, unless the pid is by now another's."""
        try:
            kept = dict(json.loads((self.run / "supervisor.json").read_text()))
            found = psutil.Process(kept["pid"])
            return kept if abs(found.create_time() - kept["created"]) < 1 else None
        except psutil.NoSuchProcess:
            return kept
        except (OSError, ValueError, KeyError, psutil.Error):
            return None

    def process(self) -> psutil.Process | None:
        """The supervisor itself, if it lives."""
        kept = self._recorded()
        try:
            found = psutil.Process(kept["pid"]) if kept else None
        except psutil.NoSuchProcess:
            return None
        return found if found and processes.alive(found) else None

    def ensure(self, host: str = LOOPBACK) -> None:
        """Start it where it is not running, for parts of that host; what an earlier one left is ended first."""
        if self.process():
            return
        self.recover()
        grace = {part.name: part.grace for parts in PARTS.values() for part in parts}
        settings = _SETTINGS + "".join(_PART.format(name=name, grace=grace[name]) for name in NAMES)
        write_private(self.run / "supervisord.conf", settings)
        self.log.mkdir(parents=True, exist_ok=True)
        environment = clean(self.home, host) | {
            processes.MARK: self.mark, RUN: str(self.run), "TRADEWIND_LOG": str(self.log),
            "TRADEWIND_PYTHON": sys.executable, "TRADEWIND_SOCKET": str(socket_path(self.run)),
        }  # fmt: skip
        with (self.run / "supervisor.out").open("wb") as out:
            started = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.run / "supervisord.conf")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=self.run, start_new_session=True,
            )  # fmt: skip
        record = {"pid": started.pid, "created": psutil.Process(started.pid).create_time()}
        write_private(self.run / "supervisor.json", json.dumps(record))
        self._await(started)

    def _await(self, started: subprocess.Popen[bytes]) -> None:
        for _ in range(150):
            if self.states():
                return
            if started.poll() is not None:
                break
            time.sleep(0.1)
        self.kill()
        said = (self.run / "supervisor.out").read_text(errors="replace")[-1000:]
        raise TradewindError(Problem(code="TW314", message="supervisord does not start", got=said))

    def _ask(self, method: str, *arguments: Any) -> Any:
        """One call; None where nobody answers."""
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{socket_path(self.run)}")
        try:
            with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError):
            return None

    def states(self) -> dict[str, str]:
        """Each part's state in supervisord's words, such as RUNNING or FATAL; empty without a supervisor."""
        return {row["name"]: row["statename"] for row in self._ask("getAllProcessInfo") or []}

    def start(self, server: Server) -> None:
        """Describe a part and start it."""
        write_private(self._description(server.name), json.dumps(describe(server)))
        self._ask("startProcess", server.name, False)

    def changed(self, server: Server) -> bool:
        """Whether it would be started otherwise than it was, as after another part's port has changed."""
        path = self._description(server.name)
        return not path.is_file() or json.loads(path.read_text()) != describe(server)

    def stop(self, names: list[str]) -> None:
        """End these parts, all at once, and what they have left."""
        running = [name for name, state in self.states().items() if name in names and state in _LIVE]
        for name in running:
            try:
                self._ask("stopProcess", name, False)
            except xmlrpc.client.Fault:  # it has ended by itself
                continue
        while any(self.states().get(name) in _LIVE for name in running):
            time.sleep(0.1)
        for name in names:
            processes.end(self.trace(name).find(), patience=3)

    def shutdown(self) -> list[psutil.Process]:
        """End everything; returns what even so lives."""
        self.stop(list(NAMES))
        return self.recover()

    def trace(self, part: str | None = None) -> processes.Trace:
        """How the processes of this stack, or of one part, are known."""
        kept, pid = self._recorded(), self.run / "parts" / f"{part}.pid"
        group = int(pid.read_text()) if part and pid.is_file() else None
        return processes.Trace(self.mark, kept["pid"] if kept else None, part, group)

    def recover(self) -> list[psutil.Process]:
        """End what is recorded or carries the mark, and forget it; returns what even so lives."""
        return self._end(patience=20)

    def kill(self) -> list[psutil.Process]:
        """End everything at once, asking nobody."""
        return self._end(patience=0)

    def _end(self, patience: float) -> list[psutil.Process]:
        root = self.process()
        found = {one.pid: one for one in [*(processes.tree(root.pid) if root else []), *self.trace().find()]}
        processes.end(found.values(), patience=patience)
        rest = processes.end(self.trace().find(), patience=0)  # what was being started meanwhile
        self._forget()
        return rest

    def _forget(self) -> None:
        socket = socket_path(self.run)
        for path in (self.run / "supervisor.json", self.run / "supervisord.pid", socket):
            path.unlink(missing_ok=True)
        if socket.parent != self.run:
            socket.parent.rmdir()

    def _description(self, name: str) -> Path:
        return self.run / "parts" / f"{name}.json"


_LIVE = {"STARTING", "RUNNING", "BACKOFF", "STOPPING"}


def describe(server: Server) -> Mapping[str, Any]:
    """What `launch --part` reads."""
    return {"command": server.command(), "environment": server.environment(), "folder": str(server.folder)}
