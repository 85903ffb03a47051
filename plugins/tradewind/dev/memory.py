"""What this machine's memory allows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from tradewind_runtime.contract.errors import Problem, TradewindError

GIB = 1024**3
LEAST = 4 * GIB
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Budget:
    """What the parts may take."""

    total: int
    kafka_heap_mb: int
    parallelism: int
    spark_memory: str | None  # less than the profile's


def total() -> int:
    """The machine's memory, or the container's where that is less."""
    limits = [int(path.read_text()) for path in _LIMITS if path.is_file() and path.read_text().strip().isdigit()]
    return min([int(psutil.virtual_memory().total), *limits])


def suffices(memory: int | None = None) -> None:
    """Whether the whole stack has room.

    Raises:
        TradewindError: TW311 below 4 GB. (A machine sold with 4 has a little less: 5 % are forgiven.)
    """
    memory = memory or total()
    if memory < 0.95 * LEAST:
        raise TradewindError(
            Problem(code="TW311", message="too little memory for the stack", got=f"{memory / GIB:.1f} GB",
                    expected="4 GB or more",
                    fix="use `tradewind run`, which needs no server, or start less: `tradewind dev up --only mlflow`")
        )  # fmt: skip


def budget(memory: int | None = None) -> Budget:
    """Heaps and workers for this much memory."""
    memory = memory or total()
    if memory < 7 * GIB:
        return Budget(memory, kafka_heap_mb=256, parallelism=2, spark_memory="1g")
    return Budget(memory, kafka_heap_mb=512, parallelism=4, spark_memory=None)
