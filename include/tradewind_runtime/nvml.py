"""How busy GPUs are, asked of the library that comes with NVIDIA's driver. Asking takes no memory on a GPU."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_Handle = ctypes.c_void_p


class _Utilisation(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@dataclass(frozen=True)
class Gpu:
    """One GPU, or the part of one that this process was given."""

    name: str
    _library: Any
    _handle: _Handle

    def utilisation(self) -> int | None:
        """Percent of the last moments in which it computed; None where the driver does not say, as of a part."""
        found = _Utilisation()
        failed = self._library.nvmlDeviceGetUtilizationRates(self._handle, ctypes.byref(found))
        return None if failed else int(found.gpu)

    def memory(self) -> tuple[int, int]:
        """Bytes in use by whomever, and bytes that there are; zeros where the driver does not say."""
        found = _Memory()
        failed = self._library.nvmlDeviceGetMemoryInfo(self._handle, ctypes.byref(found))
        return (0, 0) if failed else (int(found.used), int(found.total))


def gpus() -> tuple[Gpu, ...]:
    """Those of this process; none where there is no driver."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return ()
    if library.nvmlInit_v2():
        return ()
    return tuple(Gpu(_name(library, handle), library, handle) for handle in _handles(library))


def _handles(library: Any) -> Iterator[_Handle]:
    count = ctypes.c_uint()
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    words = [str(number) for number in range(count.value)] if named is None else named.split(",")
    for word in words:
        found = _found(library, word.strip())
        if found is None:
            return  # CUDA, too, stops at the first that is none
        yield from _parts(library, found)


def _found(library: Any, word: str) -> _Handle | None:
    if word.isdigit():
        return _asked(lambda to: library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(word)), to))
    return _asked(lambda to: library.nvmlDeviceGetHandleByUUID(word.encode(), to))


def _parts(library: Any, device: _Handle) -> Iterator[_Handle]:
    """Of a GPU that is cut into parts those that are to be seen, else itself."""
    now, next = ctypes.c_uint(), ctypes.c_uint()
    if library.nvmlDeviceGetMigMode(device, ctypes.byref(now), ctypes.byref(next)) or not now.value:
        yield device
        return
    most = ctypes.c_uint()
    library.nvmlDeviceGetMaxMigDeviceCount(device, ctypes.byref(most))
    for number in range(most.value):
        part = _part(library, device, number)
        if part is not None:
            yield part


def _part(library: Any, device: _Handle, number: int) -> _Handle | None:
    return _asked(lambda to: library.nvmlDeviceGetMigDeviceHandleByIndex(device, ctypes.c_uint(number), to))


def _asked(ask: Callable[[Any], int]) -> _Handle | None:
    handle = _Handle()
    return None if ask(ctypes.byref(handle)) else handle


def _name(library: Any, device: _Handle) -> str:
    text = ctypes.create_string_buffer(96)
    failed = library.nvmlDeviceGetName(device, text, ctypes.c_uint(len(text)))
    return "GPU" if failed else text.value.decode(errors="replace").removeprefix("NVIDIA ")
