"""The side of rank 1 and above: a companion that runs the step's training function, and whose model nobody keeps.

With some frameworks it only holds up what rank 0 computes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tradewind_runtime import learning
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.train import TrainConfig
from tradewind_runtime.distributed import HOLD, rendezvous, share
from tradewind_runtime.execute import open_lake, opened
from tradewind_runtime.launchers.lines import Line
from tradewind_runtime.launchers.team import Post

log = logging.getLogger("tradewind")


def follow(line: Line, post: Post, index: int) -> None:
    """A companion's life: its share of the rows, the meeting, the function."""
    rank, request = index + 1, post.request
    config = request.configured(TrainConfig)
    spec = config.train.distributed
    assert spec is not None, "only such a training has ranks"
    with opened(request, open_lake(request)) as context, _reported(line):
        meeting = rendezvous(spec)
        own = None if meeting.ALONE else share(learning.given(context, config), rank, spec, meeting.DEAL)
        line.send({"address": line.claimed()})
        where = line.recv()
        # The reason is told from inside the meeting: when the others fail for it, it is known.
        with meeting.join(where, rank, spec.workers), _reported(line, hold=HOLD):
            if own is None:
                threading.Event().wait()  # the end of the line is the end of this process
            else:
                learning.fit(context, config, own)
        line.send({"done": True})


@contextmanager
def _reported(line: Line, hold: float = 0) -> Iterator[None]:
    try:
        yield
    except StepError as error:
        problems = [problem.model_dump(mode="json") for problem in error.problems]
        line.send({"problems": problems, "retryable": error.retryable})
        log.info("%s", error)
        time.sleep(hold)
        raise SystemExit(1) from error
    except Exception as error:
        said = str(error).partition("\nStack trace")[0].strip()  # of a library's own code
        problem = {"code": "TW500", "message": f"{type(error).__name__}: {said}"}
        line.send({"problems": [problem], "retryable": True})
        time.sleep(hold)
        raise
