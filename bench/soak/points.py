"""A step that dies by SIGKILL at a named point: `python -m bench.soak.points POINT NTH …words of tradewind_runtime`.

A point is just before or just after one of the calls between reading, staging, committing and reporting. The step's
own code knows nothing of it.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

#: Name → module and what is called there, in the order in which a step gets there.
CALLS = {
    "positions": ("tradewind_runtime.lake", "Table.positions"),
    "read messages": ("tradewind_runtime.sources.kafka_progress", "_sorted"),
    "open object": ("tradewind_runtime.sources.objects", "Opened.__enter__"),
    "columns": ("tradewind_runtime.steps.ingest", "fit"),
    "stage": ("tradewind_runtime.lake", "Table.stage"),
    "describe": ("tradewind_runtime.lake", "describe"),
    "quarantine": ("tradewind_runtime.steps.ingest", "_quarantine"),
    "commit": ("tradewind_runtime.lake", "Table.commit"),
    "log": ("deltalake", "DeltaTable.create_write_transaction"),
    "tally": ("tradewind_runtime.steps.ingest", "_Tally.committed"),
    "report": ("tradewind_runtime.documents", "Documents.create"),
    "end": ("tradewind_runtime.execute", "_clear"),
}
#: Those that only one kind of source comes to.
ONLY = {"read messages": "kafka", "open object": "objects"}
POINTS = tuple(f"{side} {name}" for name in CALLS for side in ("before", "after"))


def deadly(point: str, nth: int) -> None:
    """From now on the nth time at this point is the last."""
    side, _, name = point.partition(" ")
    module, path = CALLS[name]
    owner: Any = importlib.import_module(module)
    *within, last = path.split(".")
    for part in within:
        owner = getattr(owner, part)
    call: Callable[..., Any] = getattr(owner, last)
    times = itertools.count(1)

    @functools.wraps(call)
    def dying(*given: Any, **named: Any) -> Any:
        if side == "before":
            _die_at(times, nth)
        result = call(*given, **named)
        if side == "after":
            _die_at(times, nth)
        return result

    setattr(owner, last, dying)


def _die_at(times: itertools.count[int], nth: int) -> None:
    if next(times) == nth:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    from tradewind_runtime.__main__ import main

    deadly(sys.argv[1], int(sys.argv[2]))
    sys.argv[1:3] = []
    sys.exit(main())
