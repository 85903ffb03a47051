"""Samples what a step uses, in a thread beside it, and keeps the document of it fresh: a kill leaves the last one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tradewind_runtime import nvml
from tradewind_runtime.contract.usage import GpuUsage, Usage
from tradewind_runtime.documents import Documents
from tradewind_runtime.gauges import Gauge, Reading, gauge

log = logging.getLogger("tradewind")

EVERY = 1.0  # seconds
SHARE = 0.01  # of a core that sampling may take: where it takes long, it is done less often
GPUS_EVERY = 3.0
WRITE_EVERY = 10.0
GROWTH = 1.1  # memory that grows is written sooner: what grows may be killed for it
PATIENCE = 5.0  # seconds that the end of a step waits for a store that does not answer


@contextmanager
def measured(documents: Documents, path: str, *, container: bool) -> Iterator[None]:
    """Measure what is done within it. Never fails it.

    Args:
        documents: of the lake.
        path: of the document.
        container: whether this process has one of its own.
    """
    try:
        meter = Meter(documents, path, gauge(container=container))
        meter.start()
    except Exception as error:
        log.debug("what is used is not measured: %s", error)
        yield
        return
    try:
        yield
    finally:
        meter.stop()


@dataclass
class _Gpu:
    """What has been seen of one GPU."""

    gpu: nvml.Gpu
    seen: list[int] = field(default_factory=list)
    memory: int = 0
    total: int = 0

    def look(self) -> None:
        """Once more."""
        used, self.total = self.gpu.memory()
        self.memory = max(self.memory, used)
        if (percent := self.gpu.utilisation()) is not None:
            self.seen.append(percent)

    def usage(self) -> GpuUsage:
        """So far."""
        mean, peak = (sum(self.seen) / len(self.seen), max(self.seen)) if self.seen else (None, None)
        return GpuUsage(
            name=self.gpu.name, utilisation_mean=mean, utilisation_peak=peak,
            memory_peak=self.memory, memory_total=self.total,
        )  # fmt: skip


class Meter:
    """One step's measuring.

    Args:
        documents: of the lake.
        path: of the document.
        gauge: that is read.
    """

    def __init__(self, documents: Documents, path: str, gauge: Gauge) -> None:
        self._documents, self._path, self._gauge = documents, path, gauge
        self._limits = gauge.limits()
        self._first = self._last = gauge.read()
        self._began = self._at = time.monotonic()
        self._cpu_peak, self._memory_peak = 0.0, self._first.memory
        self._gpus: list[_Gpu] = []
        self._gpus_at = 0.0
        self._written, self._written_at = 0, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="usage", daemon=True)

    def start(self) -> None:
        """In a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """The last words are this thread's, so that they are there when the step is over."""
        self._over.set()
        self._thread.join(PATIENCE)

    def usage(self) -> Usage:
        """So far."""
        seconds = max(self._at - self._began, 1e-3)
        mean = (self._last.cpu - self._first.cpu) / seconds
        cores, memory = self._limits
        return Usage(
            seconds=round(seconds, 1), cpu_mean=round(mean, 3), cpu_peak=round(max(mean, self._cpu_peak), 3),
            cpu_limit=cores, memory_peak=self._memory_peak, memory_limit=memory,
            gpus=tuple(gpu.usage() for gpu in self._gpus),
        )  # fmt: skip

    def _live(self) -> None:
        try:
            self._gpus = [_Gpu(gpu) for gpu in nvml.gpus()]
            pause = EVERY
            while not self._over.wait(pause):
                pause = max(EVERY, self._sample() / SHARE)
            self._sample()
            self._write()
        except Exception as error:  # a file that has gone: it is for people alone
            log.debug("what is used is not measured any more: %s", error)

    def _sample(self) -> float:
        """Seconds of a core that it took."""
        began = time.thread_time()
        self._note(self._gauge.read(), time.monotonic())
        if self._at - self._gpus_at >= GPUS_EVERY:
            self._gpus_at = self._at
            for gpu in self._gpus:
                gpu.look()
        took = time.thread_time() - began
        due = self._at - self._written_at >= WRITE_EVERY
        if due or self._memory_peak > self._written * GROWTH:
            self._write()
        return took

    def _note(self, now: Reading, at: float) -> None:
        elapsed = at - self._at
        if elapsed >= EVERY / 2:  # of less, a tick makes much
            self._cpu_peak = max(self._cpu_peak, (now.cpu - self._last.cpu) / elapsed)
        self._memory_peak = max(self._memory_peak, now.memory)
        self._last, self._at = Reading(max(now.cpu, self._last.cpu), now.memory), at

    def _write(self) -> None:
        self._written, self._written_at = self._memory_peak, self._at
        try:
            self._documents.put(self._path, self.usage().model_dump_json().encode())
        except Exception as error:  # a store that is away, and may be back the next time
            log.debug("what is used cannot be written: %s", error)
