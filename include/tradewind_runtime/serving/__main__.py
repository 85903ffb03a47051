"""`python -m tradewind_runtime.serving --lake URI --port N`: serve what the lake's endpoints say.

Listens on the loopback unless told otherwise. SIGTERM answers what has begun, closes capture's open segment and
writes a last status; the environment variable TRADEWIND_SERVING_TOKEN makes a bearer token needed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback

from tradewind_runtime.contract.deploy import SERVING_TOKEN

#: Bytes of a request's body.
LIMIT = 16 * 2**20
#: Seconds that requests may wait for the first look at the lake: a busy machine takes long to load a model, and to be
#: told that there is none yet is an error to most who ask. Startup probes wait longer.
FIRST_LOOK = 60.0


def main() -> int:
    """Parse the arguments, then import what is heavy."""
    options = _arguments()
    sys.argv = sys.argv[:1]  # KServe parses the command line when it is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads only make small requests slower
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if options.parent is not None:
        _end_with(options.parent)
    try:
        sock = socket.create_server(
            (options.host, options.port), backlog=512, family=socket.AF_INET6 if ":" in options.host else socket.AF_INET
        )
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio gives none to this one: 40 ms
    except OSError as error:
        print(f"TW566: {options.host}:{options.port} cannot be listened on: {error}", file=sys.stderr)
        return 1
    try:
        asyncio.run(_serve(options, sock))
    except Exception as error:  # the last line of a log is what Kubernetes keeps of it for certain
        traceback.print_exc()
        print(f"TW602: the server cannot begin: {str(error).partition(chr(10))[0]}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tradewind_runtime.serving", description="Serve models by the V2 protocol.")
    parser.add_argument("--lake", required=True, help="URI of the lake")
    parser.add_argument("--lake-connection", help="id of the connection of the lake's store")
    parser.add_argument("--endpoint", action="append", default=[], help="repeatable; all of the lake's by default")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0: a free one")
    parser.add_argument("--grpc-port", type=int, help="0: a free one; no gRPC by default")
    parser.add_argument("--replica", default=f"{socket.gethostname()}-{os.getpid()}", help="its own among all replicas")
    parser.add_argument("--address", help="where others reach it; the host and port by default")
    parser.add_argument("--poll", type=float, default=2.0, help="seconds between looks at the lake")
    parser.add_argument("--segment", type=float, default=5.0, help="seconds until a capture segment is closed")
    parser.add_argument("--limit", type=int, default=LIMIT, help="bytes of a request's body")
    parser.add_argument("--parent", type=int, help="stop when this is no longer the parent process")
    return parser.parse_args()


async def _serve(options: argparse.Namespace, sock: socket.socket) -> None:
    import uvicorn

    from tradewind_runtime.connections import connection, store_options
    from tradewind_runtime.documents import Documents
    from tradewind_runtime.serving import rest, rpc
    from tradewind_runtime.serving.plane import Plane, ReadOnly, Repository
    from tradewind_runtime.serving.upkeep import Upkeep

    logging.getLogger("kserve").setLevel(logging.ERROR)
    store = store_options(connection(options.lake_connection)) if options.lake_connection else None
    port = sock.getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = options.address or f"http://{host}:{port}"
    upkeep = Upkeep(
        Documents(options.lake, store),
        options.endpoint,
        replica=options.replica,
        address=address,
        every=options.poll,
        segment=options.segment,
    )
    token = os.environ.get(SERVING_TOKEN) or None
    repository = Repository(upkeep)
    plane, extension = Plane(repository, upkeep), ReadOnly(repository)
    app = rest.application(upkeep, plane, extension, options.limit, token)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=10, timeout_keep_alive=65)
    )
    # The socket listens already: who asks a server that was started again waits for its models, and is not refused.
    upkeep.start()
    until = time.monotonic() + FIRST_LOOK
    while not upkeep.looked and time.monotonic() < until:  # not on a thread, which would have to end before we may
        await asyncio.sleep(0.02)
    grpc_server, grpc_port = None, None
    if options.grpc_port is not None:
        grpc_server, grpc_port = await rpc.start_grpc(
            f"{host}:{options.grpc_port}", plane, extension, options.limit, token
        )
    # uvicorn takes the signals while it serves and raises them again afterwards; what is left to do must not be cut.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    print(json.dumps({"address": address, "grpc": f"{host}:{grpc_port}" if grpc_port else None}), flush=True)
    try:
        await server.serve(sockets=[sock])
    finally:
        if grpc_server is not None:
            await grpc_server.stop(grace=5)
        await asyncio.to_thread(upkeep.stop)


def _end_with(parent: int) -> None:
    """Stop cleanly once the parent is gone; at once where that hangs."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
