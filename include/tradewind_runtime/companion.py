"""`python -m tradewind_runtime.companion --post PATH`: what a companion of a step runs.

It calls its step, does what it is there for, and is gone as soon as the step is.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys

from tradewind_runtime.connections import connection, store_options
from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers.companions import INDEX
from tradewind_runtime.launchers.orphans import die_with
from tradewind_runtime.launchers.team import Post, threads_of

#: Role → the module whose `follow(line, post, index)` plays it.
_ROLES = {"rank": "tradewind_runtime.distributed.follower", "trials": "tradewind_runtime.launchers.companion_pool"}
_LEFT = 3  # exit code where the step is gone: no success, for nobody has the work


def main() -> int:
    """Read the post, call, follow."""
    parser = argparse.ArgumentParser(prog="tradewind_runtime.companion", description="Work beside a step.")
    parser.add_argument("--lake", required=True, help="URI of the lake")
    parser.add_argument("--lake-connection", default=None, help="id of the connection of the lake's store")
    parser.add_argument("--post", required=True, help="path of the step's document, below the lake")
    parser.add_argument("--parent", type=int, default=None, help="stop when this is no longer the parent process")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if options.parent is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the step's to handle
        die_with(options.parent)
    store = store_options(connection(options.lake_connection)) if options.lake_connection else None
    post = Documents(options.lake, store).get_model(options.post, Post)
    if post is None:
        print("the step is gone", file=sys.stderr)
        return _LEFT
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = str(threads_of(post.request))
    index = int(os.environ[INDEX])
    line = post.call(index)
    line.on_end(lambda: os._exit(_LEFT))
    importlib.import_module(_ROLES[post.role]).follow(line, post, index)
    return 0


if __name__ == "__main__":
    sys.exit(main())
