"""Objects that are opened before their turn, on a thread: of small ones that is nearly all that they cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources.files import FileRows
from tradewind_runtime.sources.files.base import SMALL
from tradewind_runtime.sources.stores.pinned import Pinned

THREADS = 1  # with two, Python makes each wait for the other
AHEAD = 32  # objects

Wanted = TypeVar("Wanted")


@dataclass(frozen=True)
class Opening:
    """A file that is being opened, by what was known of its columns when that began."""

    known: pa.Schema
    rows: Future[FileRows]


def early(
    files: Iterable[tuple[Wanted, Pinned]], begun: Callable[[Executor, Wanted, Pinned], Opening]
) -> Iterator[tuple[Wanted, Pinned, Opening | None]]:
    """Files in their order, the next small ones being opened already.

    Args:
        files: as they are to be read.
        begun: has one opened.

    Raises:
        StepError: of `files`, once all before it have been given.
    """
    coming: deque[tuple[Wanted, Pinned, Opening | None]] = deque()

    def all_that_come() -> Iterator[tuple[Wanted, Pinned, Opening | None]]:
        while coming:
            yield coming.popleft()

    pool = ThreadPoolExecutor(THREADS, "opening")
    try:
        for one, file in files:
            if file.size > SMALL:
                yield from all_that_come()
                yield one, file, None
                continue
            coming.append((one, file, begun(pool, one, file)))
            if len(coming) == AHEAD:
                yield coming.popleft()
        yield from all_that_come()
    except StepError:
        yield from all_that_come()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
