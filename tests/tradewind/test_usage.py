"""What a step used, in the words of a task's log."""

from __future__ import annotations

import pytest

from tradewind import usage
from tradewind_runtime.contract.usage import GpuUsage, Usage

GIB = 1 << 30
CARD = GpuUsage(
    name="H100", utilisation_mean=71.2, utilisation_peak=99, memory_peak=12 * GIB, memory_total=80 * GIB
)  # fmt: skip
USED = Usage(
    seconds=750, cpu_mean=0.93, cpu_peak=2, cpu_limit=2, memory_peak=int(1.3 * GIB), memory_limit=4 * GIB, gpus=(CARD,)
)


def with_gpu(mean: float | None) -> Usage:
    return USED.model_copy(update={"gpus": (CARD.model_copy(update={"utilisation_mean": mean}),)})


def test_one_line_says_all() -> None:
    assert usage.told(USED) == "cpu 0.9 of 2, memory 1.3Gi of 4Gi (32 %), GPU H100: 71 %, 12Gi of 80Gi"


def test_a_process_has_no_limits_and_a_part_of_a_gpu_no_percent() -> None:
    free = with_gpu(None).model_copy(update={"cpu_limit": None, "memory_limit": None, "memory_peak": 300 << 20})
    assert usage.told(free) == "cpu 0.9, memory 300Mi, GPU H100: 12Gi of 80Gi"


def test_an_idle_gpu_is_pointed_out() -> None:
    (said,) = usage.idle(with_gpu(3))
    assert said.startswith("the GPU H100 was idle: at work 3 % of 12 min.")
    assert "resources: {gpu: 0}" in said


@pytest.mark.parametrize("used", [USED, with_gpu(None), with_gpu(10), with_gpu(3).model_copy(update={"seconds": 20.0})])
def test_no_other_gpu_is(used: Usage) -> None:
    assert not list(usage.idle(used))


def test_memory_that_nobody_needed_is_said() -> None:
    assert usage.too_much(USED.model_copy(update={"memory_limit": 16 * GIB})) == (
        "memory: 16Gi asked for, 1.3Gi used at most; resources: {memory: 2Gi} would do"
    )
    assert usage.too_much(USED.model_copy(update={"memory_limit": int(3.8 * GIB)})) is None
    assert usage.too_much(USED.model_copy(update={"memory_limit": None})) is None
    small = {"memory_limit": 2 * GIB, "memory_peak": GIB // 4}
    assert usage.too_much(USED.model_copy(update=small)) is None  # next to nothing to gain


def test_the_peak_of_what_ran_out_of_memory() -> None:
    assert usage.peak(None) == ""
    full = USED.model_copy(update={"memory_limit": 512 << 20, "memory_peak": 498 << 20})
    assert usage.peak(full) == ", peak 498Mi"
    assert usage.peak(full.model_copy(update={"memory_peak": 100 << 20})) == ", at 100Mi just before"
