"""Requests and answers, kept as closed Arrow segments in the lake. Never makes a request wait.

A segment is written whole, by create: there are no torn ones. A kill loses at most what is not yet written.
"""

from __future__ import annotations

import io
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tradewind_runtime.documents import Documents
from tradewind_runtime.serving.tensors import Columns

#: Rows after which a segment is closed before its time.
SEGMENT_ROWS = 20_000
#: Rows that may wait for the lake; more are dropped, and counted.
WAITING_ROWS = 200_000


@dataclass(frozen=True)
class Captured:
    """One answered request."""

    columns: Columns
    answers: npt.NDArray[np.float64]  # [n], or [n, classes]
    digest: str
    arm: str
    generation: int
    request: str
    time: datetime

    @property
    def rows(self) -> int:
        """How many rows it had."""
        return len(self.answers)


class Capture:
    """One endpoint's, on one replica: the only writer of its folder."""

    def __init__(
        self, documents: Documents, endpoint: str, replica: str, *, every: float = 5.0, waiting: int = WAITING_ROWS
    ) -> None:
        self._documents = documents
        self._folder = f"capture/{endpoint}/{replica}"
        self._every, self._most = every, waiting
        self._queue: deque[Captured] = deque()
        self._unwritten: deque[pa.Table] = deque()  # of the one thread that closes
        self._waiting = 0
        self._lock = threading.Lock()
        self._closed = time.monotonic()
        self._until = datetime.now(UTC)
        self._sequence: int | None = None
        self.captured = 0
        self.dropped = 0

    def add(self, request: Captured) -> None:
        """Keep it in memory until the next segment is closed; drop it where too much waits already."""
        with self._lock:
            if self._waiting + request.rows > self._most:
                self.dropped += request.rows
                return
            self._queue.append(request)
            self._waiting += request.rows

    def due(self) -> bool:
        """Whether it is time, or there is enough, to close a segment."""
        return bool(self._queue or self._unwritten) and (
            time.monotonic() - self._closed >= self._every or self._waiting >= SEGMENT_ROWS
        )

    def close(self, present: Callable[[], bool]) -> None:
        """Write what waits; what cannot be written waits on.

        Args:
            present: whether the lake is there; writing to an absent folder would make a new one.
        """
        self._closed, begun = time.monotonic(), datetime.now(UTC)
        with self._lock:
            requests = list(self._queue)
            self._queue.clear()
        self._unwritten.extend(segments(requests))
        while self._unwritten and present():
            self._write(self._unwritten[0])
            rows = self._unwritten.popleft().num_rows
            with self._lock:
                self._waiting -= rows
                self.captured += rows
        if not self._unwritten:
            self._until = begun

    def until(self) -> datetime:
        """All that was answered before is in closed segments, or was dropped."""
        now = datetime.now(UTC)
        with self._lock:
            return now if self._waiting == 0 else self._until

    def _write(self, table: pa.Table) -> None:
        buffer = io.BytesIO()
        with pa.ipc.new_file(buffer, table.schema) as writer:
            writer.write_table(table)
        content = buffer.getvalue()
        if self._sequence is None:
            last = max(self._documents.names(self._folder), default=None)
            self._sequence = int(last.rpartition("/")[2].removesuffix(".arrow")) if last else 0
        while True:
            path = f"{self._folder}/{self._sequence + 1:012d}.arrow"
            # What is there already may be ours: a store can fail after it has written.
            done = self._documents.create(path, content) or self._documents.get(path) == content
            self._sequence += 1
            if done:
                return


def segments(batch: Sequence[Captured]) -> list[pa.Table]:
    """Requests as tables: one for each set of columns and types, so that nothing has to be converted."""
    groups: dict[tuple[Any, ...], list[Captured]] = {}
    for request in batch:
        kinds = tuple(sorted((name, values.dtype.kind) for name, values in request.columns.items()))
        groups.setdefault((kinds, request.answers.ndim), []).append(request)
    return [_table(group) for group in groups.values()]


def _table(group: Sequence[Captured]) -> pa.Table:
    sizes = [request.rows for request in group]

    def spread(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([value for value, size in zip(values, sizes, strict=True) for _ in range(size)], kind)

    arrays = {name: _column([request.columns[name] for request in group]) for name in group[0].columns}
    answers = np.concatenate([request.answers for request in group])
    return pa.table(
        {
            **{name: array for name, array in arrays.items() if not name.startswith("_")},
            "_prediction": pa.array(answers.tolist() if answers.ndim > 1 else answers),
            "_digest": spread([request.digest for request in group], pa.string()),
            "_arm": spread([request.arm for request in group], pa.string()),
            "_generation": spread([request.generation for request in group], pa.int64()),
            "_time": spread([request.time.astimezone(UTC) for request in group], pa.timestamp("us", "UTC")),
            "_request": spread([request.request for request in group], pa.string()),
            "_row": pa.array(np.concatenate([np.arange(size) for size in sizes]), pa.int64()),
        }
    )


def _column(parts: Sequence[npt.NDArray[Any]]) -> pa.Array:
    values = np.concatenate(parts)
    if values.dtype.kind == "O":
        return pa.array(values.tolist(), pa.string())
    return pa.array(values, from_pandas=values.dtype.kind == "f")  # NaN is how a null number arrives
