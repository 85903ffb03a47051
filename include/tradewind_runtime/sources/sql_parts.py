"""Several queries of a database at once, each by a session and a thread of its own, all of one moment."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa

from tradewind_runtime.connections import Connection
from tradewind_runtime.sources.databases import opened

WAITING = 4  # batches that are read ahead of the writer


def at_once(connection: Connection | None, moment: str, queries: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Batches of all queries, in the order in which they come.

    Args:
        connection: the database's.
        moment: of `Database.moment`, in a session that stays open meanwhile.
        queries: of rows of one kind.
    """
    reading = _Reading(connection, moment)
    threads = [threading.Thread(target=reading.fetch, args=(one,), daemon=True) for one in queries]
    for thread in threads:
        thread.start()
    try:
        left = len(threads)
        while left:
            found = reading.ready.get()
            if isinstance(found, Exception):
                raise found
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        reading.stopped.set()
        for thread in threads:
            thread.join()


@dataclass(frozen=True)
class _Reading:
    """Batches that threads have read and nobody has taken yet: a few, so that memory stays flat."""

    connection: Connection | None
    moment: str
    ready: queue.Queue[pa.RecordBatch | Exception | None] = field(default_factory=lambda: queue.Queue(WAITING))
    stopped: threading.Event = field(default_factory=threading.Event)

    def fetch(self, query: str) -> None:
        """All that a query gives, and a last word."""
        try:
            with opened(self.connection, self.moment) as database:
                for batch in database.batches(query):
                    self._put(batch)
                    if self.stopped.is_set():
                        return
        except Exception as error:  # it is raised where the rows are taken
            self._put(error)
        self._put(None)

    def _put(self, what: pa.RecordBatch | Exception | None) -> None:
        while not self.stopped.is_set():
            with suppress(queue.Full):
                self.ready.put(what, timeout=0.2)
                return
