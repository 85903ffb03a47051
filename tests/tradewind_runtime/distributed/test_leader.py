"""Rank 0 hears that workers fail, and says which of them was the cause."""

import threading
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.distributed.leader import _Watch
from tradewind_runtime.launchers.lines import Line

FAILED = {"problems": [{"code": "TW550", "message": "mine:train failed: Ring Allreduce failed"}], "retryable": True}


@pytest.fixture
def workers(monkeypatch):
    """The far ends of two lines, and the watch of this one; nothing is left in a lake."""
    monkeypatch.setattr("tradewind_runtime.distributed.leader.leave", lambda *_args, **_more: None)
    monkeypatch.setattr("tradewind_runtime.distributed.leader.beside", lambda *_: "")
    monkeypatch.setattr("tradewind_runtime.distributed.leader.request_path", lambda *_: "")
    companions = SimpleNamespace(how=lambda index: f"was killed, as companion {index} is")
    team = SimpleNamespace(count=2, companions=companions, request=None, documents=None)
    pipes = {rank: Pipe() for rank in (1, 2)}
    with _Watch(team, {rank: Line(here) for rank, (here, _) in pipes.items()}) as watch:
        yield watch, {rank: Line(there) for rank, (_, there) in pipes.items()}


def explained(watch):
    with pytest.raises(StepError) as caught, watch.explained():
        raise RuntimeError("the other end is likely closed")
    return str(caught.value)


def test_who_is_lost_is_the_cause_though_another_says_so_first(workers):
    watch, there = workers
    there[2].send(FAILED)
    threading.Timer(0.3, there[1].close).start()
    assert "rank 1 of 3 workers was lost: it was killed, as companion 0 is" in explained(watch)


def test_who_fails_first_is_the_cause_where_nobody_is_lost(workers):
    watch, there = workers
    there[2].send(FAILED)
    threading.Timer(0.2, there[1].send, [FAILED]).start()
    assert "rank 2 of 3 workers failed: mine:train failed" in explained(watch)


def test_who_is_done_is_not_lost(workers):
    watch, there = workers
    there[1].send({"done": True})
    there[1].close()
    there[2].send(FAILED)
    assert "rank 2 of 3 workers failed" in explained(watch)


def test_an_error_that_no_worker_explains_is_ones_own(workers):
    watch, _ = workers
    with pytest.raises(RuntimeError, match="likely closed"), watch.explained():
        raise RuntimeError("the other end is likely closed")


def test_a_lake_that_is_away_hides_no_reason(workers, monkeypatch):
    watch, there = workers

    def away(*_args, **_more):
        raise OSError("the lake is away")

    monkeypatch.setattr("tradewind_runtime.distributed.leader.leave", away)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    there[1].close()
    assert "rank 1 of 3 workers was lost" in explained(watch)
