"""Ray: a cluster of the workers that is there while the step is, listens where it must alone, and leaves nothing."""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.tradewind_runtime.learnable import archive, request, rows, store, train_config

from tradewind_runtime import artefacts
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.frameworks import predictor
from tradewind_runtime.launchers.process import Launch
from tradewind_runtime.training import matrix

#: A forest of trees that grow on both nodes, by a function of the user's own module, and rows that Ray's data counts.
MODEL = """
import os, pathlib, subprocess, sys, time
import ray
import ray.data
import xgboost

def grown(params, x, y):
    booster = xgboost.train(params, xgboost.DMatrix(x, y), 5)
    time.sleep(1)  # so that one node cannot do it all
    return ray.get_runtime_context().get_node_id(), booster.save_raw("ubj")

def refused():
    #With another token Ray asks again and again, and does not come in; with this one it takes a few seconds.
    words = [sys.executable, "-c", "import sys, ray; ray.init(address=sys.argv[1]); print('in')"]
    stranger = subprocess.Popen([*words, ray.get_runtime_context().gcs_address], stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.DEVNULL, env=os.environ | {"RAY_AUTH_TOKEN": "0" * 64})
    try:
        return "in" not in stranger.communicate(timeout=30)[0]
    except subprocess.TimeoutExpired:
        stranger.kill()
        return True

def train(ctx):
    assert (ctx.rank, ctx.workers) == (0, 2)
    if ctx.params.get("fails"):
        raise ValueError("of my own")
    x, y = ctx.train.numpy()
    folder = ctx.params.get("folder")
    if folder:
        (pathlib.Path(folder) / str(os.getpid())).touch()
        time.sleep(120)
    held = [ray.put(part) for part in (x, y)]
    remote = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(grown)
    params = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1}
    found = ray.get([remote.remote(params | {"seed": seed}, *held) for seed in range(4)])
    counted = ray.data.from_arrow(ctx.train.arrow()).count()
    ctx.report(1, refused=int(refused()), nodes=len({node for node, _ in found}), counted=counted)
    booster = xgboost.Booster()
    booster.load_model(bytearray(found[0][1]))
    return booster
"""


@pytest.fixture
def lake(tmp_path):
    root = tmp_path / "a lake"
    return root, store(root, rows())


def launch(lake, workers=2, **params):
    root, ref = lake
    config = train_config(function="mine:train", params=params)
    config["train"]["distributed"] = {"workers": workers, "framework": "ray"}
    wanted = request(root, "train", config, inputs={"features": ref}, code=archive(root, mine=MODEL))
    return Launch(wanted, Documents(root.as_uri()), sys.executable, on_line=print)


def test_tasks_are_done_on_every_node(lake):
    result = launch(lake).run()
    assert result.metrics["rows_train"] == result.metrics["last_counted"] == 1000, "rank 0 has all rows"
    assert result.metrics["last_nodes"] == 2
    assert result.metrics["last_refused"] == 1, "whoever has another token is not let in"
    found = predictor(artefacts.load(Documents(lake[0].as_uri()), result.outputs["model"].digest))
    assert np.ptp(found.predict(matrix(rows(), ("a", "b", "noise", "flag")))) > 0.3
    assert not left()


def test_an_error_of_the_function_is_told(lake):
    with pytest.raises(StepError, match=r"TW550.*mine:train failed: ValueError: of my own"):
        launch(lake, fails=True).run()
    assert not left()


@pytest.mark.parametrize(
    ("victim", "said"),
    [("step", r"TW590.*SIGKILL"), ("companion", r"TW549.*rank 1 of 2 .*SIGKILL"), ("raylet", r"TW549.*rank 1 of 2 ")],
)
def test_nothing_is_left_whoever_is_killed(lake, tmp_path, victim, said):
    marks = tmp_path / "marks"
    marks.mkdir()
    heard = []

    def kill():
        while not (found := list(marks.iterdir())):
            time.sleep(0.02)
        heard.extend(listening())
        pid = int(found[0].name)
        if victim != "step":
            pid = next(pid for pid, words in processes().items() if "tradewind_runtime.companion" in words)
        if victim == "raylet":
            pid = next(one for one, words in processes().items() if "raylet/raylet" in words and pid in lineage(one))
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(StepError, match=said):
        launch(lake, folder=str(marks)).run()
    killer.join()
    assert len(heard) >= 6
    assert set(heard) == {"0100007F"}, "in processes, the loopback alone"
    assert not left()


def left(patience: float = 15) -> dict[int, str]:
    """Processes of Ray, and of companions, after the moment that they may take to go."""
    until = time.monotonic() + patience
    while True:
        found = {pid: words for pid, words in processes().items() if "ray::" in words or "/ray/" in words}
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.3)


def processes() -> dict[int, str]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found[int(path.parent.name)] = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return {pid: words for pid, words in found.items() if words and pid != os.getpid()}


def lineage(pid: int) -> set[int]:
    found = set()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.add(pid)
    return found


def listening() -> list[str]:
    """The addresses that Ray's processes listen on, the last four bytes as the kernel writes them."""
    sockets = set()
    for pid, words in processes().items():
        if "ray::" not in words and "/ray/" not in words:
            continue
        with contextlib.suppress(OSError):
            sockets |= {os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.append(fields[1].partition(":")[0][-8:])
    return found
