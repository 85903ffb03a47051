"""A database in memory for the time of a step: it takes the profile's share of it, and the step's folder beyond."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from tradewind_runtime.context import StepContext


@contextmanager
def opened(step: StepContext, memory: str = "2GB") -> Iterator[duckdb.DuckDBPyConnection]:
    """One that fetches no extension, and finds no variable of ours by its name.

    Args:
        step: whose settings and folder it has.
        memory: that it may take, where the profile does not say.
    """
    database = duckdb.connect(
        ":memory:",
        config={
            "threads": int(step.setting("threads", 1)),
            "memory_limit": str(step.setting("duckdb", {}).get("memory", memory)),
            "temp_directory": str(step.scratch / "duckdb"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
        },
    )
    try:
        database.execute("SET TimeZone = 'UTC'")
        yield database
    finally:
        database.close()


def cause(error: Exception) -> str:
    """What it says, in a line."""
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())
