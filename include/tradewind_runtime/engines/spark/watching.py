"""A second look at a Spark while it works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError

_POLL, _PATIENCE = 1.0, 5.0  # seconds


@contextmanager
def watched(name: str, look: Callable[[], None]) -> Iterator[None]:
    """Look every second, in a thread of that name, until this ends or Spark does."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL):
            try:
                look()
            except (Py4JError, OSError, AttributeError):  # Spark has ended
                return

    thread = threading.Thread(target=watch, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_PATIENCE)  # a JVM that does not answer must not hold the step's end
