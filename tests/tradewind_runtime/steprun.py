"""Steps as they are run for real: by their request, in this process or in one of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tradewind_runtime.contract.pins import IngestConfig
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.request import CodeRef, StepRequest, StepResult
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake
from tradewind_runtime.sources import Access, reader


def ingest_request(
    lake: str,
    source: Source,
    end: Any,
    *,
    run: str = "r1",
    window: Window | None = None,
    connection: str | None = None,
    project: str | None = None,
    chunk: int | None = None,
    code: CodeRef | None = None,
) -> StepRequest:
    return StepRequest(
        step="ingest",
        id="ingest_flights",
        pipeline="demo",
        run_id=run,
        lake=lake,
        refresh=run,
        window=window,
        config=IngestConfig(name="flights", source=source).model_dump(mode="json"),
        pins={"end": end},
        settings={name: value for name, value in (("project", project), ("chunk_rows", chunk)) if value},
        connections=source.connections if connection else {},
        code=code,
    )


def ingest(lake: str, source: Source, end: Any, **more: Any) -> StepResult:
    return execute(ingest_request(lake, source, end, **more))


def end_of(lake: str, source: Source, **more: Any) -> dict[str, Any]:
    return reader(source.kind).end_position(source, Access(lake=Lake(lake), **more))


def start(request: StepRequest, name: str, **environment: str) -> subprocess.Popen[bytes]:
    """`python -m tradewind_runtime`, as a task starts it."""
    path = f"requests/{name}.json"
    Documents(request.lake).put(path, request.model_dump_json().encode())
    return started(request.lake, path, **environment)


def started(lake: str, path: str, *words: str, **environment: str) -> subprocess.Popen[bytes]:
    """By a request that lies there already, and more words of the command line."""
    return subprocess.Popen(
        [sys.executable, "-m", "tradewind_runtime", "--lake", lake, "--request", path, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )


def rows(lake: str, table: str = "flights_raw") -> list[dict[str, Any]]:
    return Lake(lake).table(f"demo/{table}").snapshot().to_arrow().to_pylist()


def wait_for(condition: Callable[[], object], seconds: float = 200) -> None:
    """Until it is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
