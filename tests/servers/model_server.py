"""A real model server in a process of the serving environment, on a free port of the loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("TRADEWIND_SERVING_PYTHON", ROOT / ".venv-serving" / "bin" / "python"))


@dataclass
class ModelServer:
    """One running server."""

    process: subprocess.Popen[str]
    address: str
    grpc: str | None
    log: Path
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.address, timeout=10, trust_env=False)

    def infer(self, endpoint: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        """POST a V2 request."""
        named = {f"x-tradewind-{name}": value for name, value in headers.items()}
        return self.client.post(f"/v2/models/{endpoint}/infer", json=body, headers=named)

    def kill(self) -> None:
        """As the kernel's out-of-memory killer would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """By SIGTERM, as a supervisor would; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=20)
        finally:
            if self.process.poll() is None:
                self.kill()
            self.client.close()


def start(lake: Path, log: Path, *arguments: str, env: dict[str, str] | None = None) -> ModelServer:
    """Start one and wait until it listens (not until it is ready)."""
    command = [
        str(PYTHON),
        "-m",
        "tradewind_runtime.serving",
        "--lake",
        lake.as_uri(),
        "--port",
        "0",
        "--poll",
        "0.2",
        "--segment",
        "0.5",
        "--parent",
        str(os.getpid()),
        *arguments,
    ]
    # KServe starts in 2 s once its bytecode is kept, and in 6 s without.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with log.open("a") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=inherited | (env or {}),
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the server ended: {log.read_text()[-2000:]}"
    where = json.loads(line)
    return ModelServer(process, where["address"], where["grpc"], log)


@contextmanager
def model_server(
    lake: Path, log: Path, *arguments: str, env: dict[str, str] | None = None, ready: bool = True
) -> Iterator[ModelServer]:
    """A server for the length of a `with`."""
    server = start(lake, log, *arguments, env=env)
    try:
        if ready:
            wait(lambda: server.client.get("/v2/health/ready").status_code == 200, "ready", log)
        yield server
    finally:
        server.stop()


def wait(done: Any, what: str, log: Path | None = None, seconds: float = 20) -> None:
    """Until something is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if done():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    told = log.read_text()[-3000:] if log else ""
    raise AssertionError(f"not {what} after {seconds} s\n{told}")


def request(columns: dict[str, Sequence[Any]], id: str | None = None) -> dict[str, Any]:
    """A V2 request of named columns."""
    kinds = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
    inputs = []
    for name, values in columns.items():
        known = next((value for value in values if value is not None), 0.0)
        inputs.append({"name": name, "shape": [len(values)], "datatype": kinds[type(known)], "data": list(values)})
    return {"inputs": inputs, **({"id": id} if id else {})}
