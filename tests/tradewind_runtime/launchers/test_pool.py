"""Warm workers: they do requests, die with their parent, and one that is killed costs one attempt."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config

from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers.companion_pool import CompanionPool
from tradewind_runtime.launchers.companions import ProcessCompanions
from tradewind_runtime.launchers.pool import Pool
from tradewind_runtime.launchers.team import Team

KINDS = pytest.mark.parametrize("kind", ["processes", "companions"])
WAIT = """
import os, pathlib, time
import xgboost

def train(ctx):
    here = pathlib.Path(ctx.params["folder"])
    (here / f"{ctx.params['n']}-{os.getpid()}-{time.monotonic_ns()}").touch()
    while not (here / "go").exists():
        time.sleep(0.02)
    return xgboost.train({"nthread": 1}, ctx.train.dmatrix(), 2)
"""


@pytest.fixture
def trial(tmp_path):
    """A function from a number to a trial that says it has begun and waits for `go`."""
    root, marks = tmp_path / "a lake", tmp_path / "marks"
    marks.mkdir()
    ref = store(root, rows(300, task="regression"))
    code = archive(root, wait=WAIT)

    def make(n: int, **params):
        body = train_config(function="wait:train", task="regression", params={"folder": str(marks), "n": n} | params)
        body["tune"] = {"hyperopt": {"trials": 1, "metric": "rmse", "space": {"alpha": {"choice": [1]}}}}
        body["trial_params"] = {"n": n}
        return request(root, "trial", body, id=f"trial.{n}", inputs={"features": ref}, code=code)

    return make, marks


def opened(kind, size, request):
    """A pool of either kind."""
    if kind == "processes":
        return Pool(size)
    return CompanionPool(size, team=Team(request, Documents(request.lake), "trials", size))


def pids_of(pool):
    if isinstance(pool, CompanionPool):
        assert isinstance(pool.team.companions, ProcessCompanions)
        return pool.team.companions.pids
    return pool.pids


def begun(marks, n, count=1):
    until = time.monotonic() + 60
    while len(found := list(marks.glob(f"{n}-*"))) < count:
        assert time.monotonic() < until, "the trial did not begin"
        time.sleep(0.02)
    return [int(path.name.split("-")[1]) for path in found]


def drain(pool):
    done = []
    while pool.pending:
        done += pool.next()
    return {one.key: one for one in done}


@KINDS
def test_requests_come_back_and_a_killed_workers_one_is_done_again(trial, kind):
    make, marks = trial
    with opened(kind, 2, make(0)) as pool:
        pool.warm()
        for n in range(3):
            pool.submit(n, make(n))
        (victim,) = begun(marks, 0)
        begun(marks, 1)
        os.kill(victim, signal.SIGKILL)
        (marks / "go").touch()
        done = drain(pool)
        assert victim not in pids_of(pool)
        pids = pids_of(pool)
    assert {key: one.error for key, one in done.items()} == {0: None, 1: None, 2: None}
    assert all(one.result.metrics["score"] > 0 for one in done.values())
    assert len(begun(marks, 0, 2)) == 2
    assert len(begun(marks, 1)) == len(begun(marks, 2)) == 1
    assert not any(alive(pid) for pid in pids)


@pytest.mark.server
@KINDS
def test_a_worker_that_is_killed_twice_is_a_failure_with_a_reason(trial, kind):
    make, marks = trial
    killed = set()

    def kill_whoever_begins():
        for count in (1, 2):
            (pid,) = set(begun(marks, 7, count)) - killed
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)

    with opened(kind, 1, make(7)) as pool:
        pool.submit(7, make(7))
        killer = threading.Thread(target=kill_whoever_begins)
        killer.start()
        done = drain(pool)
        killer.join()
    assert len(killed) == 2
    assert done[7].error.problems[0].code == "TW591"
    assert "SIGKILL" in str(done[7].error)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"


PARENT = """
import sys, time
from tradewind_runtime.launchers.pool import Pool
if __name__ == "__main__":
    with Pool(2) as pool:
        print(*pool.pids, flush=True)
        time.sleep(60)
"""


def test_workers_die_with_their_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    until = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < until, "a worker outlived its parent"
        time.sleep(0.05)
