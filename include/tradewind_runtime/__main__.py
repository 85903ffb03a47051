"""`python -m tradewind_runtime --request URI`: what a process or a pod runs.

Exit codes: 0 the result is in the lake; 3 failed for a known reason, retrying may help;
4 failed for a known reason and retrying cannot help; 1 anything else. The reason goes to
`<request>.error.json`, so that whoever started the process can say it in one line; what was used
goes to `<request>.usage.json`, however it ends.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
import traceback
from types import FrameType

from tradewind_runtime import without_pandas
from tradewind_runtime.connections import connection, store_options
from tradewind_runtime.contract.errors import Problem, StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers.exchange import ERROR, USAGE, beside, leave
from tradewind_runtime.usage import measured

RETRYABLE, FINAL = 3, 4
#: Steps in which nobody's code runs and nothing is a data frame.
PLAIN = frozenset({"ingest", "maintain"})


def main() -> int:
    """Read the request, execute it, leave the reason if it fails."""
    parser = argparse.ArgumentParser(prog="tradewind_runtime", description="Do one step's request.")
    parser.add_argument("--lake", required=True, help="URI of the lake")
    parser.add_argument("--lake-connection", default=None, help="id of the connection of the lake's store")
    parser.add_argument("--request", required=True, help="path of the request, below the lake")
    parser.add_argument("--parent", type=int, default=None, help="stop when this is no longer the parent process")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _stop)
    if options.parent is not None:
        _die_with(options.parent)
    store = store_options(connection(options.lake_connection)) if options.lake_connection else None
    documents = Documents(options.lake, store)
    request = documents.get_model(options.request, StepRequest)
    if request is None:
        print(f"no request at {options.request}", file=sys.stderr)
        return 1
    # A launcher of this machine names itself; without one, this is a container of its own.
    with measured(documents, beside(options.request, USAGE), container=options.parent is None):
        return _do(request, documents, beside(options.request, ERROR))


def _do(request: StepRequest, documents: Documents, error_path: str) -> int:
    try:
        from tradewind_runtime.execute import execute

        if request.step in PLAIN and request.engine != "spark":
            without_pandas.leave_out()
        execute(request)
    except StepError as error:
        leave(documents, error_path, error.problems, retryable=error.retryable)
        print(error, file=sys.stderr)
        return RETRYABLE if error.retryable else FINAL
    except Exception as error:
        traceback.print_exc()
        problem = Problem(code="TW500", message=f"{type(error).__name__}: {error}", fix="see the traceback above")
        leave(documents, error_path, (problem,), retryable=True)
        return 1
    return 0


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


def _die_with(parent: int) -> None:
    """End, with all children, once the parent is gone: a killed supervisor must leave nothing behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
