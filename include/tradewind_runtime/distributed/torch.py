"""torch.distributed: a store in rank 0, and a process group of gloo, or of NCCL where each worker has a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from tradewind_runtime.distributed import Deal, host_of
from tradewind_runtime.launchers.pod.names import POD

NEEDS = ("torch", "torch")
#: Whoever has a batch more than the others would wait for them.
DEAL: Deal = "even"
ALONE = False
_LONG = timedelta(days=1)  # whoever is gone is noticed by the step
_held: list[Any] = []  # the store, which is to live as long as anybody may ask it


@contextmanager
def lead(addresses: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A store."""
    from torch.distributed import TCPStore

    host = host_of(addresses[0])
    store = TCPStore(host, 0, len(addresses), is_master=True, wait_for_workers=False, timeout=_LONG)
    _held.append(store)
    try:
        yield {"host": host, "port": store.port}
    finally:
        _held.remove(store)


@contextmanager
def join(where: dict[str, Any], rank: int, workers: int) -> Iterator[None]:
    """The default process group, so that `DistributedDataParallel(model)` is all that a function adds."""
    import torch
    from torch import distributed

    told = {"MASTER_ADDR": where["host"], "MASTER_PORT": where["port"], "RANK": rank, "WORLD_SIZE": workers}
    os.environ |= {name: str(value) for name, value in told.items()} | {"LOCAL_RANK": "0"}
    store = _held[-1] if rank == 0 else distributed.TCPStore(where["host"], where["port"], workers, timeout=_LONG)
    distributed.init_process_group(_backend(torch, workers), store=store, rank=rank, world_size=workers, timeout=_LONG)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def released(model: Any) -> Any:
    """The module inside needs nobody."""
    return model


def _backend(torch: Any, workers: int) -> str:
    """NCCL wants a GPU for each: a pod has its own, processes share the machine's."""
    if not torch.cuda.is_available():
        return "gloo"
    return "nccl" if POD in os.environ or torch.cuda.device_count() >= workers else "gloo"
