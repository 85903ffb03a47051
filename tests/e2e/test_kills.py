"""`kill -9` during training and during a rollout: the run ends right, nothing is done twice, no process is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import psutil
import pyarrow as pa
import pytest
from tests.e2e.house import House
from tests.e2e.slow import attempts, roll_out, training

from tradewind.demo.client import Answers, requests
from tradewind_runtime import endpoints
from tradewind_runtime.lake import Lake

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(900)]


def test_the_step_s_process(slow: House) -> None:
    with training(slow, "step", 11) as chain:
        chain[0].kill()
    assert attempts(slow, 11) == 2
    assert roll_out(slow, "step") == "success"  # the first version goes straight in


def test_the_task_s_supervisor(slow: House) -> None:
    with training(slow, "supervisor", 12) as chain:
        step, task, supervisor = chain[:3]
        supervisor.kill()
        psutil.wait_procs([step, task], timeout=20)
        assert not [one for one in (step, task) if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert attempts(slow, 12) == 2


def test_a_rollout_survives_triggerer_scheduler_and_model_server(slow: House) -> None:
    """Of the version that the test before has registered; its users lose no answer."""
    lake = Lake((slow.folder / ".tradewind/lake").as_uri())
    before = endpoints.latest(lake.documents, "slow")
    assert before is not None
    run_id = slow.airflow.runs("slow__rollout")[-1]["dag_run_id"]
    slow.until(lambda: slow.state("slow__rollout", run_id, "canary_50") == "deferred", "the canary's first stage")
    with traffic(slow, lake) as answers:
        for part in ("triggerer", "scheduler", "serving"):
            slow.kill(part)
            time.sleep(3)
        assert slow.airflow.follow("slow__rollout", run_id, lambda _: None, timeout=300) == "success"
    now = endpoints.latest(lake.documents, "slow")
    assert now is not None
    assert (now.canary, now.replaced) == (None, before.stable)
    assert now.stable != before.stable
    assert now.number == before.number + 2  # each stage once
    assert answers.rows > 0
    assert answers.failed == 0, answers.error


def test_the_scheduler_during_training(slow: House) -> None:
    with training(slow, "scheduler", 13) as chain:
        slow.kill("scheduler")
        psutil.wait_procs(chain[:1], timeout=20)
    assert roll_out(slow, "scheduler") == "success"
    runs = [run["dag_run_id"] for run in slow.airflow.runs("slow")]
    versions = [slow.airflow.told("slow", run, "register").get("facts", {}).get("version") for run in runs]
    assert len(set(versions)) == len(runs)  # each registered one, once


@contextmanager
def traffic(house: House, lake: Lake) -> Iterator[Answers]:
    """Users who ask all the time and try again when nobody answers."""
    rows = lake.table("slow/patients").snapshot().to_arrow()
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
