"""Airflow's REST API as far as the closing table asks it: runs, what tasks returned, import errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class FakeAirflow:
    """What it will answer."""

    url: str = ""
    runs: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)  # DAG → run → state and type
    told: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)  # DAG, run, task → its XCom

    def run(self, dag_id: str, run_id: str, state: str = "success", type: str = "manual") -> None:
        self.runs.setdefault(dag_id, {})[run_id] = (state, type)

    def answer(self, path: str) -> dict[str, Any] | None:
        match path.partition("?")[0].removeprefix("/api/v2").strip("/").split("/"):
            case ["auth", "token"]:
                return {"access_token": "t"}
            case ["importErrors"]:
                return {"import_errors": []}
            case ["dags", dag_id, "dagRuns"]:
                found = self.runs.get(dag_id, {}).items()
                return {"dag_runs": [{"dag_run_id": id, "state": s, "run_type": t} for id, (s, t) in found]}
            case ["dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "xcomEntries", "return_value"]:
                value = self.told.get((dag_id, run_id, task_id))
                return None if value is None else {"value": value}
        return None


@contextmanager
def fake_airflow() -> Iterator[FakeAirflow]:
    fake = FakeAirflow()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = fake.answer(self.path)
            body = json.dumps(found or {"detail": "not found"}).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
