"""A client of the model server: rows as requests of KServe's V2 protocol, as an airline's system would send them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import Any

import httpx
import pyarrow as pa
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

PATIENCE = 20.0  # seconds that a server which starts again is waited for


@dataclass
class Answers:
    """What came back."""

    rows: int = 0
    requests: int = 0
    failed: int = 0
    digests: Counter[str] = field(default_factory=Counter)  # rows by the model that answered
    error: str = ""  # the last one

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        found: dict[str, Any] = {"rows": self.rows, "requests": self.requests, "failed": self.failed,
                                 "models": {digest[:12]: rows for digest, rows in self.digests.items()}}  # fmt: skip
        return found | ({"error": self.error} if self.error else {})


@dataclass(frozen=True)
class _Answer:
    rows: int
    digest: str = ""
    error: str = ""


def requests(
    rows: pa.Table,
    *,
    url: str,
    endpoint: str,
    batch: int = 20,
    parallel: int = 4,
    until: Event | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
    token: str | None = None,
) -> Answers:
    """Ask for all rows, a few at a time.

    Args:
        rows: features, and any other column that should be captured with them, such as keys and times.
        url: the server's.
        endpoint: the model's name.
        batch: rows of one request.
        parallel: requests at a time.
        until: stops early when it is set.
        on_progress: called with how many rows have been answered.
        token: where the server asks for one.
    """
    answers, pending = Answers(), set[Future[_Answer]]()
    path = f"{url.rstrip('/')}/v2/models/{endpoint}/infer"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(timeout=30, trust_env=False, headers=headers) as client, ThreadPoolExecutor(parallel) as pool:
        for body, size in _bodies(rows, batch):
            if until is not None and until.is_set():
                break
            pending.add(pool.submit(_ask, client, path, body, size))
            if len(pending) >= 2 * parallel:
                pending = _collect(pending, answers, on_progress)
        while pending:
            pending = _collect(pending, answers, on_progress)
    return answers


def infer_body(rows: pa.Table, id: str) -> dict[str, Any]:
    """One request: a named tensor for each column."""
    return {"id": id, "inputs": [_tensor(name, rows[name]) for name in rows.column_names]}


def _bodies(rows: pa.Table, batch: int) -> Iterator[tuple[dict[str, Any], int]]:
    for start in range(0, rows.num_rows, batch):
        part = rows.slice(start, batch)
        # The id is the data's own, so that a sticky split sends the same rows to the same model.
        yield infer_body(part, f"{_plain(part[part.column_names[0]][0].as_py())}-{start}"), part.num_rows


def _tensor(name: str, column: pa.ChunkedArray) -> dict[str, Any]:
    values = [_plain(value) for value in column.to_pylist()]
    kind = column.type
    if pa.types.is_boolean(kind) and column.null_count == 0:
        datatype = "BOOL"
    elif pa.types.is_integer(kind) and column.null_count == 0:
        datatype = "INT64"
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        datatype = "FP64"
    else:
        datatype = "BYTES"
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": values}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{(value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return None if isinstance(value, float) and math.isnan(value) else value


def _ask(client: httpx.Client, path: str, body: dict[str, Any], rows: int) -> _Answer:
    try:
        for attempt in Retrying(retry=retry_if_exception_type(httpx.TransportError), stop=stop_after_delay(PATIENCE),
                                wait=wait_fixed(0.5), reraise=True):  # fmt: skip
            with attempt:
                response = client.post(path, json=body)
    except httpx.TransportError as error:
        return _Answer(0, error=f"{type(error).__name__}: {error}")
    if response.is_error:
        return _Answer(0, error=f"{response.status_code}: {response.text[:300]}")
    answer = response.json()
    given = int(answer["outputs"][0]["shape"][0])
    if given != rows:
        return _Answer(0, error=f"{given} answers to {rows} rows")
    return _Answer(rows, digest=str((answer.get("parameters") or {}).get("digest", "")))


def _collect(
    pending: set[Future[_Answer]], answers: Answers, on_progress: Callable[[int], None]
) -> set[Future[_Answer]]:
    done, rest = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        answer = future.result()
        answers.requests += 1
        answers.rows += answer.rows
        if answer.error:
            answers.failed, answers.error = answers.failed + 1, answer.error
        else:
            answers.digests[answer.digest] += answer.rows
    on_progress(answers.rows)
    return rest
