"""Python's collector of cycles, while objects are made by the million."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS = 100_000  # that are held and new


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Have it look for cycles after so many new objects, where Python's own 700 cost a quarter of a step's time.

    What is no cycle is freed at once as ever. It holds for the whole process: one at a time may do this.
    """
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
