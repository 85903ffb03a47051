"""Where the step's time goes: what each of its stages takes by itself, timed while it runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any


@dataclass
class Clock:
    """Seconds of each stage, without those of the stages that it calls."""

    spent: Counter[str] = field(default_factory=Counter)
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, whose time is noted."""

        @wraps(work)
        def noted(*args: Any, **kwargs: Any) -> Any:
            self._turn()
            self._open.append(stage)
            try:
                return work(*args, **kwargs)
            finally:
                self._turn()
                self._open.pop()

        return noted

    def _turn(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.spent[self._open[-1]] += now - self._since
        self._since = now


def watched() -> Clock:
    """Has the stages of this process timed from now on: each is called once for thousands of messages."""
    import pyarrow.parquet as pq

    from tradewind_runtime import lake
    from tradewind_runtime.sources import kafka, kafka_client, kafka_progress, kafka_rows
    from tradewind_runtime.sources.messages import base, json_known

    clock = Clock()
    for stage, place, name in (
        ("take apart", kafka_progress, "_sorted"),
        ("decode", base.Decoder, "decode"),
        ("make columns", json_known.Reader, "_table"),
        ("type", base, "conform"),
        ("say where from", kafka_rows.Rows, "_with_provenance"),
        ("join", kafka, "together"),
        ("write", pq.ParquetWriter, "write_batch"),
        ("write", pq.ParquetWriter, "close"),
        ("commit", lake.Table, "commit"),
    ):
        setattr(place, name, clock.timed(stage, getattr(place, name)))
    setattr(kafka, "consumer_of", _counted(clock, kafka_client.consumer_of))  # noqa: B010 mypy knows it as what it was
    return clock


def _counted(clock: Clock, opened: Callable[..., AbstractContextManager[Any]]) -> Callable[..., Any]:
    """Gives consumers whose messages are asked for by the clock; they are C's, which cannot be changed."""

    @contextmanager
    def counted(*args: Any) -> Any:
        with opened(*args) as consumer:
            yield _Consumer(clock, consumer)

    return counted


class _Consumer:
    def __init__(self, clock: Clock, consumer: Any) -> None:
        self._consumer = consumer
        self.consume = clock.timed("consume", consumer.consume)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)
