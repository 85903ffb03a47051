"""Ray: a cluster of the workers, one node each, for as long as the step runs. Rank 0 has its head, runs the function.

Ray runs code for whoever can connect, so a token is asked of everybody, and a process alone listens on the loopback.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tradewind_runtime.distributed import Deal, host_of

NEEDS = ("ray", "ray")
DEAL: Deal = "all"
ALONE = True
_LOOK = 0.2  # seconds
#: Ray's command, which ends with the process that started it, and all that it started with it.
_NODE = """
import sys
from tradewind_runtime.launchers.orphans import die_with
die_with(int(sys.argv.pop(1)))
from tradewind_runtime.distributed.ray import stay_here
stay_here()
from ray.scripts.scripts import main
sys.exit(main())
"""


@contextmanager
def lead(addresses: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The head, and this process as its driver."""
    token = secrets.token_hex(32)
    _prepare(token)
    import ray

    stay_here()
    # Not below the step's folder: the path of a Unix socket has at most 107 characters.
    folder = tempfile.mkdtemp(prefix="ray-")
    try:
        with _importable():
            ray.init(
                address="local", _node_ip_address=host_of(addresses[0]), _temp_dir=folder, num_cpus=_cpus(),
                include_dashboard=False, configure_logging=False, namespace="tradewind",
            )  # fmt: skip
        yield {"address": ray.get_runtime_context().gcs_address, "token": token, "hosts": [*map(host_of, addresses)]}
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def join(where: dict[str, Any], rank: int, workers: int) -> Iterator[None]:
    """Rank 0 waits until all nodes are there; the others hold up one each."""
    if rank == 0:
        import ray

        while sum(node["Alive"] for node in ray.nodes()) < workers:
            time.sleep(_LOOK)
        yield
        return
    _prepare(where["token"])
    words = [
        "start", "--block", "--disable-usage-stats", f"--address={where['address']}", f"--num-cpus={_cpus()}",
        f"--node-ip-address={where['hosts'][rank]}", "--min-worker-port=0", "--max-worker-port=0",
    ]  # fmt: skip
    if where["hosts"][rank] == where["hosts"][0]:
        words += ["--num-gpus=0"]  # processes share the machine's, and rank 0 has them
    with _importable():
        node = subprocess.Popen([sys.executable, "-c", _NODE, str(os.getpid()), *words], stdin=subprocess.DEVNULL)
    over = threading.Event()
    threading.Thread(target=_tend, args=(node, over), name="ray-node", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        node.terminate()
        node.wait()


def stay_here() -> None:
    """Ray takes 127.0.0.1 for the machine's address in the network, and then listens there too."""
    from ray._private import services

    services.resolve_ip_for_localhost = str


def released(model: Any) -> Any:
    """What the function returned is rank 0's own."""
    return model


def _prepare(token: str) -> None:
    """What Ray reads as it is imported."""
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@contextmanager
def _importable() -> Iterator[None]:
    """What this node's workers import is what this process does: the user's code lies elsewhere on each."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _cpus() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or 1)


def _tend(node: subprocess.Popen[bytes], over: threading.Event) -> None:
    """A worker whose node is gone is lost too."""
    code = node.wait()
    if not over.is_set():
        os._exit(code if code > 0 else 1)
