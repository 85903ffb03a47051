"""What a step used, in words, and what could be had for less. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tradewind_runtime.contract.usage import GpuUsage, Usage

GIB = 1 << 30
IDLE = 10  # percent of the time, below which a GPU is not what the step needs
LONG = 60  # seconds: of a shorter step nothing is said
TOO_MUCH = 3  # times what was used
WORTH = 2 * GIB  # below, what could be saved is not worth a line


def told(usage: Usage) -> str:
    """In one line."""
    memory = amount(usage.memory_peak)
    if usage.memory_limit:
        memory += f" of {amount(usage.memory_limit)} ({100 * usage.memory_peak / usage.memory_limit:.0f} %)"
    cores = f" of {usage.cpu_limit:g}" if usage.cpu_limit else ""
    return ", ".join([f"cpu {usage.cpu_mean:.1f}{cores}", f"memory {memory}", *map(_gpu, usage.gpus)])


def idle(usage: Usage) -> Iterator[str]:
    """GPUs that had next to nothing to do, and what to do about it."""
    for gpu in usage.gpus:
        share = gpu.utilisation_mean
        if share is not None and share < IDLE and usage.seconds >= LONG:
            yield (
                f"the GPU {gpu.name} was idle: at work {share:.0f} % of {usage.seconds / 60:.0f} min. "
                "Does the framework use it (device in the facts, `tradewind doctor`)? Then larger batches, or more "
                "workers to load them; else resources: {gpu: 0}"
            )


def too_much(usage: Usage) -> str | None:
    """Memory that was asked for and not needed."""
    asked, used = usage.memory_limit, usage.memory_peak
    if not asked or asked < TOO_MUCH * used or asked - used < WORTH:
        return None
    enough = max(1, math.ceil(1.5 * used / GIB))
    return f"memory: {amount(asked)} asked for, {amount(used)} used at most; resources: {{memory: {enough}Gi}} would do"


def peak(usage: Usage | None) -> str:
    """For the error of a step that was killed for its memory."""
    if usage is None:
        return ""
    close = usage.memory_limit is None or usage.memory_peak > usage.memory_limit / 2
    # What grows within a second is killed before it is seen.
    return f", peak {amount(usage.memory_peak)}" if close else f", at {amount(usage.memory_peak)} just before"


def amount(size: int) -> str:
    """Bytes, as a YAML has them."""
    if size >= 10 * GIB:
        return f"{size / GIB:.0f}Gi"
    return f"{size / GIB:.1f}Gi".replace(".0Gi", "Gi") if size >= GIB else f"{size / (1 << 20):.0f}Mi"


def _gpu(gpu: GpuUsage) -> str:
    busy = "" if gpu.utilisation_mean is None else f"{gpu.utilisation_mean:.0f} %, "
    return f"GPU {gpu.name}: {busy}{amount(gpu.memory_peak)} of {amount(gpu.memory_total)}"
