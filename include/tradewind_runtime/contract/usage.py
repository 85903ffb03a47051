"""What a step's process used: a document beside its request, for people. It decides nothing."""

from __future__ import annotations

from pydantic import Field

from tradewind_runtime.contract.base import Frozen


class GpuUsage(Frozen):
    """One GPU, or a part of one."""

    name: str
    utilisation_mean: float | None = Field(None, description="Percent of the time; a part of a GPU does not tell.")
    utilisation_peak: float | None = None
    memory_peak: int = Field(0, description="Bytes, of all that use it.")
    memory_total: int = 0


class Usage(Frozen):
    """From the beginning to the last time that it was looked at."""

    seconds: float
    cpu_mean: float = Field(description="Cores.")
    cpu_peak: float = Field(description="Cores, over a second.")
    cpu_limit: float | None = Field(None, description="Cores; None where there is no limit but the machine's.")
    memory_peak: int = Field(description="Bytes that cannot be given back at once: the working set.")
    memory_limit: int | None = Field(None, description="Bytes; None where there is no limit but the machine's.")
    gpus: tuple[GpuUsage, ...] = ()
