"""What the driver's library is asked, held against one that answers as NVIDIA's does."""

# ruff: noqa: ARG002, N802 - the names and arguments are NVIDIA's

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from tradewind_runtime import nvml

GIB = 1 << 30
NOT_SUPPORTED = 3

NAMES = {1: b"NVIDIA H100 80GB HBM3", 2: b"NVIDIA H100 80GB HBM3", 3: b"NVIDIA A100", 31: b"NVIDIA A100 MIG 1g.5gb"}
UUIDS = {b"GPU-b": 2, b"MIG-c": 31}


class Library:
    """Two whole GPUs and one that is cut; a handle is a number."""

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = 3
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:
        handle._obj.value = index.value + 1
        return 0 if index.value < 3 else 2

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        handle._obj.value = UUIDS.get(uuid)
        return 0 if uuid in UUIDS else 6

    def nvmlDeviceGetMigMode(self, handle: Any, now: Any, later: Any) -> int:
        now._obj.value = int(handle.value == 3)
        return NOT_SUPPORTED if handle.value == 31 else 0

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any, most: Any) -> int:
        most._obj.value = 7
        return 0

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: Any, part: Any) -> int:
        part._obj.value = 31
        return 0 if index.value == 4 else 6

    def nvmlDeviceGetName(self, handle: Any, text: Any, size: Any) -> int:
        text.value = NAMES[handle.value]
        return 0

    def nvmlDeviceGetUtilizationRates(self, handle: Any, found: Any) -> int:
        found._obj.gpu = 71
        return NOT_SUPPORTED if handle.value == 31 else 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, found: Any) -> int:
        found._obj.used, found._obj.total = 12 * GIB, 80 * GIB
        return 0


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("driver")
def test_whole_gpus_and_parts() -> None:
    found = nvml.gpus()
    assert [gpu.name for gpu in found] == ["H100 80GB HBM3", "H100 80GB HBM3", "A100 MIG 1g.5gb"]
    assert [gpu.utilisation() for gpu in found] == [71, 71, None]  # a part does not tell
    assert found[0].memory() == (12 * GIB, 80 * GIB)


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("visible", "count"), [("", 0), ("-1", 0), ("1", 1), ("0,1", 2), ("GPU-b", 1), ("MIG-c", 1), ("0,9,1", 1)]
)
def test_those_that_cuda_shows(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert len(nvml.gpus()) == count


def test_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert nvml.gpus() == ()
