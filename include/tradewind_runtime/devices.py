"""Which device each framework computes on here, and why. `python -m tradewind_runtime.devices` says it as JSON."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import import_module
from typing import Literal

Kind = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Device:
    """What a framework would use."""

    framework: str
    version: str
    device: Kind
    reason: str


@lru_cache(maxsize=1)
def gpus() -> tuple[str, ...]:
    """Names of the GPUs that this process was given, as the driver itself says."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    found = []
    for number in range(count.value):
        known = driver.cuDeviceGetName(name, len(name), number) == 0
        found.append(name.value.decode() if known else f"GPU {number}")
    return tuple(found)


def device_of(framework: str) -> Device:
    """Imports the framework and asks it; a GPU is used where there is one and the framework was built for it."""
    version = str(import_module(framework).__version__)
    if framework not in _LACKS:
        return Device(framework, version, "cpu", "it computes on the CPU alone")
    if not gpus():
        return Device(framework, version, "cpu", "no GPU is visible")
    if lack := _LACKS[framework]():
        return Device(framework, version, "cpu", lack)
    return Device(framework, version, "cuda", f"{', '.join(gpus())}, and a build with CUDA")


def chosen() -> Kind:
    """For the frameworks that this process has imported: `cuda` where each of them can use it."""
    if not gpus():
        return "cpu"
    found = [device_of(name).device for name in _LACKS if name in sys.modules]
    return "cuda" if found and set(found) == {"cuda"} else "cpu"


def _xgboost() -> str:
    built = import_module("xgboost").build_info().get("USE_CUDA")
    return "" if built else "this build of xgboost has no CUDA (xgboost-cpu)"


def _torch() -> str:
    torch = import_module("torch")
    if torch.version.cuda is None:
        return "this build of torch has no CUDA"
    if torch.cuda.is_available():
        return ""
    return f"torch cannot use the driver that is installed (it wants CUDA {torch.version.cuda})"


def _tensorflow() -> str:
    tensorflow = import_module("tensorflow")
    if not tensorflow.test.is_built_with_cuda():
        return "this build of tensorflow has no CUDA (tensorflow-cpu)"
    found = tensorflow.config.list_physical_devices("GPU")
    return "" if found else "tensorflow does not find its CUDA libraries (tensorflow[and-cuda])"


#: What hinders a framework from using the GPU that is there; nothing if empty.
_LACKS: dict[str, Callable[[], str]] = {"xgboost": _xgboost, "torch": _torch, "tensorflow": _tensorflow}


def main() -> None:
    """GPUs, and each framework that is installed."""
    there = [name for name in (*_LACKS, "sklearn") if importlib.util.find_spec(name) is not None]
    found = [asdict(device_of(name)) for name in there]
    print(json.dumps({"gpus": gpus(), "frameworks": found}))


if __name__ == "__main__":
    main()
