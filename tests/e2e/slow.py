"""A pipeline whose training can be held: long enough to be killed, cancelled, watched or overtaken by a commit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import psutil
import pyarrow as pa
from tests.e2e.house import House, mentions

from tradewind.demo.client import Answers, requests
from tradewind_runtime import endpoints
from tradewind_runtime.endpoints import EndpointGeneration
from tradewind_runtime.lake import Lake

SLOW = """\
version: 1
pipeline: slow
params:
  rounds: {type: integer, default: 10}
  held: {type: boolean, default: false}
sources:
  patients:
    sample: {name: breast_cancer}
train:
  function: slow:train
  label: target
  params: {rounds: "{params.rounds}", held: "{params.held}", marks: MARKS}
promote: {model: slow, when: {roc_auc: {min: 0.5}}}
deploy:
  canary: [50, 100]
  stage: {min_requests: 50, min_time: 12s, max_time: 60s}
  abort: {latency_ratio: 1000, shift: 1}
defaults: {retry_delay: 1s}
"""
TRAIN = '''\
"""Held until it may go on; it tells when it has begun."""

import time
from pathlib import Path

from sklearn.ensemble import HistGradientBoostingClassifier


def train(ctx):
    rounds = int(ctx.params["rounds"])
    marks = Path(ctx.params["marks"]) / f"{rounds}"
    with marks.open("a") as begun:
        begun.write("begun\\n")
    print("the training has begun", flush=True)
    while ctx.params["held"] and not marks.with_suffix(".free").exists():
        time.sleep(0.1)
    return HistGradientBoostingClassifier(max_iter=rounds).fit(*ctx.train.numpy())
'''


def yaml(house: House) -> str:
    """Its text."""
    return SLOW.replace("MARKS", f'"{house.folder}/marks"')


def commit(house: House) -> None:
    """Bring it to the house, ready to run."""
    (house.folder / "marks").mkdir()
    (house.folder / "include/models/slow.py").write_text(TRAIN)
    house.write("slow.yaml", yaml(house))
    house.until(lambda: house.dag("slow"), "the DAG")
    for dag_id in ("slow", "slow__rollout"):
        house.airflow.unpause(dag_id)


@contextmanager
def training(house: House, run_id: str, rounds: int, *, ends: str = "success") -> Iterator[list[psutil.Process]]:
    """Start a run, hold its training and give its process, the task's and the supervisor's; in the end all is done.

    An attempt that comes after a kill is held no more.
    """
    house.trigger("slow", run_id, rounds=rounds, held=True)
    house.until(lambda: attempts(house, rounds), "the training's first attempt")
    yield chain_of(run_id)
    (house.folder / "marks" / f"{rounds}.free").touch()
    states: list[str] = []
    state = house.airflow.follow("slow", run_id, lambda task: states.append(f"{task['task_id']} {task['state']}"))
    assert state == ends, states
    assert steps_of(run_id) == []


def chain_of(run_id: str) -> list[psutil.Process]:
    """The process of the one step that it does, the task's, its supervisor's and what those come from."""
    (step,) = steps_of(run_id)
    return [step, *step.parents()]


def steps_of(run_id: str) -> list[psutil.Process]:
    """Processes of the run's steps."""
    return [one for one in psutil.process_iter(["cmdline"]) if mentions(one, f"runs/slow/{run_id}/requests/")]


def attempts(house: House, rounds: int) -> int:
    """How often the training of so many rounds has begun."""
    marks = house.folder / "marks" / str(rounds)
    return len(marks.read_text().splitlines()) if marks.exists() else 0


def rollout_of(house: House, run_id: str) -> str:
    """The rollout that a run's new version has started."""
    wanted = house.airflow.told("slow", run_id, "register")["facts"]["version"]
    found: list[str] = []

    def selected() -> bool:
        runs = [run["dag_run_id"] for run in house.airflow.runs("slow__rollout")]
        found[:] = [run for run in runs if house.airflow.told("slow__rollout", run, "select")
                    .get("facts", {}).get("version") == wanted]  # fmt: skip
        return bool(found)

    house.until(selected, f"a rollout of version {wanted}")
    return found[0]


def roll_out(house: House, run_id: str) -> str:
    """The end of that rollout."""
    return house.airflow.follow("slow__rollout", rollout_of(house, run_id), lambda _: None, timeout=300)


def lake_of(house: House) -> Lake:
    """Where its tables and models lie."""
    return Lake((house.folder / ".tradewind/lake").as_uri())


def served(house: House) -> EndpointGeneration:
    """What the endpoint should serve now."""
    found = endpoints.latest(lake_of(house).documents, "slow")
    assert found is not None
    return found


@contextmanager
def traffic(house: House) -> Iterator[Answers]:
    """Users who ask all the time and try again when nobody answers."""
    rows = lake_of(house).table("slow/patients").snapshot().to_arrow()
    rows = rows.drop_columns([name for name in rows.column_names if name.startswith("_") or name == "target"])
    rows = rows.add_column(0, "id", pa.array([f"p{n}" for n in range(rows.num_rows)]))
    total, stop = Answers(), Event()

    def send() -> None:
        while not stop.is_set():
            some = requests(rows, url=house.serving, endpoint="slow", batch=3, parallel=2, until=stop)
            total.rows, total.failed = total.rows + some.rows, total.failed + some.failed
            total.error = some.error or total.error
            time.sleep(0.1)

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        try:
            yield total
        finally:
            stop.set()
            sending.result(60)
