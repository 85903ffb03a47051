"""Whatever of it is killed, whenever: every run ends well, and no pod is left. `KILLS=100` is the long form."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psutil
import pytest
from tests.cluster import trouble
from tests.cluster.house import NAMESPACE, ClusterHouse

from tradewind.demo.airflow import ENDED

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]
KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1000)
PIPELINES = ("kills-a", "kills-b")
#: Airflow's parts, what its executor runs, a step's process in its container, a pod.
VICTIMS = ("scheduler", "triggerer", "dag-processor", "api-server", "task", "step", "step", "pod")
MOST = 100  # tries that a YAML may ask for
UP = 15  # seconds of a part's life before it is killed again: its supervisor gives up on one that never starts
LEFT = 60  # seconds that Kubernetes has to remove what is deleted


def test_no_kill_loses_a_run_or_leaves_a_pod(house: ClusterHouse) -> None:
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    _write(house)
    runs: dict[str, int] = dict.fromkeys(PIPELINES, 0)
    killed: Counter[str] = Counter()
    while killed.total() < KILLS:
        for pipeline in PIPELINES:
            _keep_running(house, pipeline, runs)
        time.sleep(rng.uniform(1, 6))
        victim = rng.choice(VICTIMS)
        if _kill(house, victim, rng):
            killed[victim] += 1
            print(f"{killed.total():4d} {victim}", flush=True)
    ended = [(pipeline, f"r{number}") for pipeline, count in runs.items() for number in range(1, count + 1)]
    states = {run: house.airflow.follow(*run, lambda _: None, timeout=900) for run in ended}
    print(f"{dict(killed)}; {len(ended)} runs")
    assert set(states.values()) == {"success"}, states
    house.cluster.until(lambda: not house.pods(), "the end of all pods", seconds=LEFT)


def _write(house: ClusterHouse) -> None:
    """Pipelines whose tries are as many as kills."""
    (house.folder / "include/models/trouble.py").write_text(trouble.MODELS)
    params: dict[str, Any] = {"epochs": "{params.epochs}", "seed": "{params.seed}"}
    asked = {"cpu": 0.3, "memory": "600Mi"}
    for name in PIPELINES:
        text = trouble.pipeline(name, "wait", retries=min(KILLS + 1, MOST), params=params, resources=asked)
        house.write(f"{name}.yaml", text)
    for name in PIPELINES:
        house.until(lambda name=name: house.dag(name), f"the DAG {name}")
        house.airflow.unpause(name)


def _keep_running(house: ClusterHouse, pipeline: str, runs: dict[str, int]) -> None:
    """Another run where the last one has ended."""
    if all(run["state"] in ENDED for run in house.airflow.runs(pipeline)):
        runs[pipeline] += 1
        house.trigger(pipeline, f"r{runs[pipeline]}", epochs=8, seed=f"{pipeline} {runs[pipeline]}")


def _kill(house: ClusterHouse, victim: str, rng: random.Random) -> bool:
    """Whether there was one to be killed."""
    with suppress(psutil.NoSuchProcess):
        if victim == "pod":
            return _delete_pod(house, rng)
        if victim == "step":
            return _kill_any((one for one in psutil.process_iter(["cmdline"]) if _is_step(one)), rng)
        if victim == "task":
            return _kill_any((one for one in house.process("scheduler").children(recursive=True) if _is_task(one)), rng)
        process = house.process(victim)
        if time.time() - process.create_time() > UP:
            process.kill()
            return True
    return False


def _delete_pod(house: ClusterHouse, rng: random.Random) -> bool:
    """As someone does who has lost patience."""
    found = [pod["metadata"]["name"] for pod in house.pods()]
    if not found:
        return False
    words = ("--namespace", NAMESPACE, "--force", "--grace-period=0")
    house.cluster.kubectl("delete", "pod", rng.choice(found), *words, check=False)
    return True


def _kill_any(found: Iterable[psutil.Process], rng: random.Random) -> bool:
    processes = list(found)
    if processes:
        rng.choice(processes).kill()
    return bool(processes)


def _is_task(process: psutil.Process) -> bool:
    """What the executor has started for a task."""
    words = " ".join(process.cmdline())
    return words.startswith("airflow worker -- ") and "LocalExecutor" not in words


def _is_step(process: psutil.Process) -> bool:
    """What a container of ours runs."""
    words = process.info["cmdline"] or []
    return words[:3] == ["python", "-m", "tradewind_runtime"] and any(
        word.startswith(f"runs/{name}/") for word in words for name in PIPELINES
    )
