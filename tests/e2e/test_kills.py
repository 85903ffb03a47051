"""`kill -9` during training and during a rollout: the run ends right, nothing is done twice, no process is left."""

from __future__ import annotations

import time

import psutil
import pytest
from tests.e2e.house import House
from tests.e2e.slow import attempts, roll_out, served, traffic, training

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
    before = served(slow)
    run_id = slow.airflow.runs("slow__rollout")[-1]["dag_run_id"]
    slow.until(lambda: slow.state("slow__rollout", run_id, "canary_50") == "deferred", "the canary's first stage")
    with traffic(slow) as answers:
        for part in ("triggerer", "scheduler", "serving"):
            slow.kill(part)
            time.sleep(3)
        assert slow.airflow.follow("slow__rollout", run_id, lambda _: None, timeout=300) == "success"
    now = served(slow)
    assert (now.canary, now.replaced) == (None, before.stable)
    assert now.stable != before.stable
    assert now.number == before.number + 2  # each stage once
    assert answers.rows > 0
    assert answers.failed == 0, answers.error


def test_the_scheduler_during_training(slow: House) -> None:
    with training(slow, "scheduler", 13) as chain:
        slow.kill("scheduler")
        psutil.wait_procs(chain[:1], timeout=20)
    with traffic(slow):  # or each of its stages waits for requests as long as it may
        assert roll_out(slow, "scheduler") == "success"
    runs = [run["dag_run_id"] for run in slow.airflow.runs("slow")]
    versions = [slow.airflow.told("slow", run, "register").get("facts", {}).get("version") for run in runs]
    assert len(set(versions)) == len(runs)  # each registered one, once
