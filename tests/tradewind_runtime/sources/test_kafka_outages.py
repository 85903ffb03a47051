"""A broker or a reader that is away, or stands still, for longer than a moment: each message once all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.tradewind_runtime.sources.test_kafka import AHEAD, MANY, SIZE, Topic
from tests.tradewind_runtime.steprun import ingest, ingest_request, rows, start, wait_for

from tradewind.dev.running import Running
from tradewind.dev.running import start as serve
from tradewind.dev.servers.kafka import Kafka
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.documents import Documents
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.sources import kafka_progress

pytestmark = pytest.mark.server
PATIENCE = 12.0  # of which a broker that has stood still may take some, on a busy machine, until it answers again
IMPATIENT = f"""
from tradewind_runtime.__main__ import main
from tradewind_runtime.sources import kafka_progress
kafka_progress.PATIENCE = {PATIENCE}
raise SystemExit(main())
"""


@dataclass(frozen=True, kw_only=True)
class Forgetful(Kafka):
    """A broker that soon closes a connection by which nobody asks."""

    def settings(self) -> str:
        return super().settings() + "connections.max.idle.ms=2000\n"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running[Kafka]]:
    with serve(Forgetful.at(tmp_path_factory.mktemp("kafka"), heap_mb=256)) as running:
        yield running
        os.kill(running.process.pid, signal.SIGCONT)  # whatever a test has left


@pytest.fixture
def topic(broker: Running[Kafka], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Topic:
    """With more messages than a reader has at once."""
    monkeypatch.setenv("AIRFLOW_CONN_K", f"kafka://{broker.server.address}")
    found = Topic(broker.server.address, request.node.name.replace("[", "-").replace("]", ""))
    found.send_many()
    return found


def raw(lake: str) -> Table:
    return Lake(lake).table("demo/flights_raw")


def asked(lake: str, topic: Topic) -> StepRequest:
    return ingest_request(lake, topic.source(), topic.end(), connection="k", chunk=100)


def all_but_what_is_ahead(topic: Topic, lake: str) -> bool:
    """Whether the rest must still come from the broker."""
    return topic.committed(raw(lake)) + AHEAD // SIZE < MANY


def has_begun(process: subprocess.Popen[bytes], topic: Topic, lake: str) -> None:
    wait_for(lambda: process.poll() is not None or topic.committed(raw(lake)) >= 300, 60)
    assert process.poll() is None, "it is still reading"


def lasts(seconds: float, process: subprocess.Popen[bytes]) -> None:
    """So long it neither ends nor fails."""
    until = time.monotonic() + seconds
    wait_for(lambda: process.poll() is not None or time.monotonic() > until, seconds + 30)
    assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""


def has_each_once(process: subprocess.Popen[bytes], lake: str) -> None:
    assert process.wait(200) == 0, process.stderr.read().decode() if process.stderr else ""
    assert sorted(row["n"] for row in rows(lake)) == list(range(MANY))


@pytest.mark.timeout(600)
def test_a_broker_that_is_gone_for_a_minute(tmp_path: Path, lake_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Kafka.at(tmp_path / "kafka", heap_mb=256)
    first = serve(server)
    try:
        monkeypatch.setenv("AIRFLOW_CONN_K", f"kafka://{server.address}")
        topic = Topic(server.address, "gone")
        topic.send_many()
        process = start(asked(lake_uri, topic), "gone")
        has_begun(process, topic, lake_uri)
        first.kill()
        assert all_but_what_is_ahead(topic, lake_uri)
        lasts(60, process)
        assert 300 <= topic.committed(raw(lake_uri)) < MANY, "it waits for the rest"
        with serve(server):
            has_each_once(process, lake_uri)
    finally:
        first.stop()


@pytest.mark.parametrize("whole", [False, True], ids=["alone", "with-its-broker"])
def test_a_reader_that_stood_still_goes_on(broker: Running[Kafka], topic: Topic, lake_uri: str, whole: bool) -> None:
    """Longer than its patience, which is with the broker; as a container does, or a whole stack, that is paused."""
    request = asked(lake_uri, topic)
    Documents(lake_uri).put("requests/still.json", request.model_dump_json().encode())
    words = ["--lake", lake_uri, "--request", "requests/still.json"]
    process = subprocess.Popen([sys.executable, "-c", IMPATIENT, *words], stderr=subprocess.PIPE)
    try:
        has_begun(process, topic, lake_uri)
        if whole:
            os.kill(broker.process.pid, signal.SIGSTOP)
            reads_no_more(topic, lake_uri)
        process.send_signal(signal.SIGSTOP)
        assert all_but_what_is_ahead(topic, lake_uri) or whole
        before = topic.committed(raw(lake_uri))
        lasts(PATIENCE + 2, process)
        assert topic.committed(raw(lake_uri)) == before < MANY, "it does not move"
        process.send_signal(signal.SIGCONT)
        if whole:
            lasts(1.5, process)  # the broker wakes last
            os.kill(broker.process.pid, signal.SIGCONT)
        has_each_once(process, lake_uri)
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)
        process.kill()
        process.wait()


def reads_no_more(topic: Topic, lake: str) -> None:
    """Wait until all that the reader had is in the table, well before it loses patience."""
    seen: list[tuple[float, int]] = [(time.monotonic(), -1)]

    def settled() -> bool:
        if (now := topic.committed(raw(lake))) != seen[-1][1]:
            seen.append((time.monotonic(), now))
        return time.monotonic() - seen[-1][0] > 1.5

    wait_for(settled, 30)


def test_a_broker_that_stands_still_is_told_and_the_next_attempt_has_the_rest(
    broker: Running[Kafka], topic: Topic, lake_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_progress, "PATIENCE", PATIENCE)
    end, table = topic.end(), raw(lake_uri)
    stopped: list[bool] = []

    def stop() -> None:
        wait_for(lambda: topic.committed(table) >= 300, 60)
        os.kill(broker.process.pid, signal.SIGSTOP)
        stopped.append(all_but_what_is_ahead(topic, lake_uri))

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(StepError, match=rf"TW525: Kafka sent nothing of .* for {PATIENCE:.0f} s") as caught:
        ingest(lake_uri, topic.source(), end, connection="k", chunk=100)
    stopping.join()
    assert stopped == [True]
    assert caught.value.retryable
    there = {(row["_source"], row["_position"]) for row in rows(lake_uri)}
    upto = {p: table.position(f"kafka:{topic.name}:{p}") or 0 for p in (0, 1)}
    assert there == {(f"{topic.name}-{p}", at) for p, last in upto.items() for at in range(last)}
    assert 300 <= len(there) == len(rows(lake_uri)) < MANY, "what is there is there once"
    os.kill(broker.process.pid, signal.SIGCONT)
    wait_for(broker.server.healthy, 60)
    result = ingest(lake_uri, topic.source(), end, connection="k", chunk=100)
    assert result.metrics["rows"] == MANY - len(there)
    assert sorted(row["n"] for row in rows(lake_uri)) == list(range(MANY))
