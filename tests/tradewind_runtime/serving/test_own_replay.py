"""A replay to an endpoint's own server: by its URL, with its token, and waking one that sleeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from tests.servers.model_server import start, wait
from tests.tradewind_runtime.serving.conftest import Models
from tests.tradewind_runtime.serving.test_server import NAME, WHO, body, captured, rows, step

from tradewind.dev import ports
from tradewind_runtime import endpoints
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import ReplicaStatus, moves
from tradewind_runtime.steps import replay

NOWHERE = "http://127.0.0.1:9"  # what the replicas say of themselves: their network is not ours
TOKEN = "TRADEWIND_SERVING_TOKEN"


@pytest.mark.server
def test_the_servers_url_is_asked_with_its_token(models: Models, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, _ = models.train(1)
    new, _ = models.train(2)
    documents, lake = models.documents, models.folder.as_uri()
    moves.promote(documents, NAME, old, expected=0, **WHO)
    port = ports.choose({"serving": None})["serving"]
    options = ("--endpoint", NAME, "--port", str(port), "--address", NOWHERE)
    server = start(models.folder, tmp_path / "log", *options, env={TOKEN: "s3cret"})
    server.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"authorization": "Bearer s3cret"})
    try:
        wait(lambda: server.client.get("/v2/health/ready").status_code == 200, "ready", server.log)
        assert server.infer(NAME, body(rows(40))).status_code == 200
        wait(lambda: captured(documents) == 40, "captured", server.log)
        moves.promote(documents, NAME, new, expected=1, weight=10, **WHO)
        wait(lambda: endpoints.statuses(documents, NAME)[0].generation == 2, "observed", server.log)
        config = {"endpoint": NAME, "requests": 30, "server": f"http://127.0.0.1:{port}"}
        monkeypatch.delenv(TOKEN, raising=False)
        with pytest.raises(StepError, match=r"TW569.*wants a token") as refused:
            step(lake, "replay", config, "r1")
        assert not refused.value.retryable
        with pytest.raises(StepError, match=r"TW569.*nothing that was replayed was answered") as unreached:
            step(lake, "replay", {"endpoint": NAME, "requests": 30}, "r0")  # each replica at its own address
        assert unreached.value.retryable
        monkeypatch.setenv(TOKEN, "s3cret")
        metrics = step(lake, "replay", config, "r2").metrics
        assert metrics == {"rows": 30, "stable_sent": 30, "stable_failed": 0, "canary_sent": 30, "canary_failed": 0}
        arms = endpoints.statuses(documents, NAME)[0].arms
        assert (arms[old].rows, arms[new].rows) == (30, 30)
    finally:
        server.stop()


def alive(documents: Documents) -> None:
    found = ReplicaStatus(endpoint=NAME, replica="one", generation=1, written=datetime.now(UTC), address=NOWHERE)
    documents.put(endpoints.status_path(NAME, "one"), found.model_dump_json().encode())


@contextmanager
def sleeper(documents: Documents, *, asked: list[str]) -> Iterator[str]:
    """A server without a replica; the second question has started one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if len(asked) == 2:
                alive(documents)
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_server_that_sleeps_is_woken_also_where_there_is_nothing_to_replay(models: Models) -> None:
    asked: list[str] = []
    moves.promote(models.documents, NAME, "a" * 64, expected=0, **WHO)
    with sleeper(models.documents, asked=asked) as url:
        config = {"endpoint": NAME, "requests": 5, "server": url}
        assert step(models.folder.as_uri(), "replay", config, "r1").metrics == {"rows": 0}
    assert asked == ["/v2/health/ready"] * 2


def test_one_that_does_not_wake_is_told(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "WAKING", 1.0)
    moves.promote(models.documents, NAME, "a" * 64, expected=0, **WHO)
    moves.promote(models.documents, NAME, "b" * 64, expected=1, weight=10, **WHO)
    config = {"endpoint": NAME, "requests": 5, "server": NOWHERE}
    began = time.monotonic()
    with pytest.raises(StepError, match="TW569"):
        step(models.folder.as_uri(), "replay", config, "r1")
    assert time.monotonic() - began >= 1
