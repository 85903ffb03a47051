"""Which device a framework uses, where GPUs and builds are as a test says."""

import ctypes
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import xgboost
from tests.tradewind_runtime.learnable import rows

from tradewind_runtime import devices
from tradewind_runtime.training import TrainContext


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(devices, "gpus", lambda: ("NVIDIA H100",))


def built(monkeypatch, *, cuda: bool) -> None:
    monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": cuda})


def context(**rest) -> TrainContext:
    return TrainContext.from_tables(rows(50), rows(50), label="label", exclude=["key", "at"], **rest)


def test_a_gpu_is_used_by_what_is_built_for_it(gpu, monkeypatch):
    built(monkeypatch, cuda=True)
    found = devices.device_of("xgboost")
    assert (found.device, found.reason) == ("cuda", "NVIDIA H100, and a build with CUDA")
    assert devices.device_of("sklearn").device == "cpu"
    monkeypatch.setattr(devices, "_LACKS", {"xgboost": devices._LACKS["xgboost"]})
    assert context().device == "cuda"
    assert context(forced_device="cpu").device == "cpu"


def test_a_build_without_cuda_uses_the_cpu_and_says_so(gpu, monkeypatch):
    built(monkeypatch, cuda=False)
    found = devices.device_of("xgboost")
    assert (found.device, found.reason) == ("cpu", "this build of xgboost has no CUDA (xgboost-cpu)")
    assert context().device == "cpu"


def test_without_a_gpu_a_build_with_cuda_is_of_no_use(monkeypatch):
    built(monkeypatch, cuda=True)
    monkeypatch.setattr(devices, "gpus", tuple)
    assert devices.device_of("xgboost").reason == "no GPU is visible"
    assert context().device == "cpu"


def driver(*names: bytes, fails: int = 0) -> SimpleNamespace:
    """What the driver's library answers: 0 is success."""

    def count(into) -> int:
        into._obj.value = len(names)
        return 0

    def name(into, _length, number) -> int:
        into.value = names[number]
        return 0

    return SimpleNamespace(cuInit=lambda _: fails, cuDeviceGetCount=count, cuDeviceGetName=name)


@pytest.mark.parametrize(
    ("library", "found"),
    [
        (driver(b"NVIDIA H100", b"NVIDIA H200"), ("NVIDIA H100", "NVIDIA H200")),
        (driver(), ()),
        (driver(b"NVIDIA H100", fails=100), ()),
    ],
)
def test_the_driver_itself_is_asked(library, found, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    assert devices.gpus.__wrapped__() == found


def test_a_process_says_it_as_json():
    command = [sys.executable, "-m", "tradewind_runtime.devices"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    body = json.loads(done.stdout)
    names = {one["framework"] for one in body["frameworks"]}
    assert {"xgboost", "sklearn"} <= names
    assert all(one["reason"] and one["version"] for one in body["frameworks"])
