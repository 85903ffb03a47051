"""The demo's client against the real model server: every row is answered, by the right model, and captured."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pyarrow as pa
import pytest
from tests.servers.model_server import model_server
from tests.tradewind_runtime import watched

from tradewind.demo.client import infer_body, requests
from tradewind_runtime.endpoints import moves
from tradewind_runtime.lake import Lake


def rows(count: int) -> pa.Table:
    start = datetime(2013, 6, 1, tzinfo=UTC)
    at = pa.array([start + timedelta(minutes=n) for n in range(count)], pa.timestamp("us", "UTC"))
    ids = pa.array([f"f{n}" for n in range(count)])
    return pa.table({"flight_id": ids, "dep_scheduled": at, **watched.numbers(count, seed=3)})


def test_tensors_by_name() -> None:
    table = pa.table(
        {"i": pa.array([1, None]), "b": [True, False], "x": [0.5, float("nan")], "n": [1, 2], "s": ["a", None]}
    )
    inputs = {tensor["name"]: tensor for tensor in infer_body(table, "r")["inputs"]}
    assert {name: tensor["datatype"] for name, tensor in inputs.items()} == {
        "i": "FP64", "b": "BOOL", "x": "FP64", "n": "INT64", "s": "BYTES"}  # fmt: skip
    assert inputs["x"]["data"] == [0.5, None]
    stamped = infer_body(rows(1), "r")["inputs"][1]
    assert (stamped["datatype"], stamped["data"]) == ("BYTES", ["2013-06-01T00:00:00Z"])


@pytest.mark.server
def test_every_row_is_answered_and_captured(tmp_path: Path) -> None:
    folder = tmp_path / "a lake"
    lake = Lake(folder.as_uri())
    digest = watched.model(lake, tmp_path / "model")
    moves.promote(lake.documents, "m", digest, expected=0, by="t", reason="t", version="1")
    told: list[int] = []
    with model_server(folder, tmp_path / "log") as server:
        answers = requests(rows(505), url=server.address, endpoint="m", on_progress=told.append)
        assert answers.facts() == {"rows": 505, "requests": 26, "failed": 0, "models": {digest[:12]: 505}}
        assert told[-1] == 505
        wrong = requests(rows(5).drop_columns(["a"]), url=server.address, endpoint="m")
        assert (wrong.rows, wrong.failed) == (0, 1)
        assert "'a' is missing" in wrong.error
        stop = Event()
        stop.set()
        assert requests(rows(5), url=server.address, endpoint="m", until=stop).requests == 0
        until = time.monotonic() + 10
        while time.monotonic() < until and not list(lake.documents.names("capture/m")):
            time.sleep(0.1)
    segments = [pa.ipc.open_file(pa.BufferReader(lake.documents.get(path))).read_all()
                for path in lake.documents.names("capture/m")]  # fmt: skip
    captured = pa.concat_tables(segments, promote_options="default")
    assert captured.num_rows == 505
    assert set(captured["flight_id"].to_pylist()) == {f"f{n}" for n in range(505)}
    assert set(captured["_digest"].to_pylist()) == {digest}
