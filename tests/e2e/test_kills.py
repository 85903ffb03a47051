"""`kill -9` during training and during a rollout: the run ends right, nothing is done twice, no process is left."""

from __future__ import annotations

import time

import psutil
import pytest
from tests.e2e.house import House
from tests.e2e.slow import attempts, chain_of, lake_of, roll_out, rollout_of, served, traffic, training

from tradewind_runtime import endpoints

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(900)]


def test_the_step_s_process_and_in_the_next_attempt_the_task_s_supervisor(slow: House) -> None:
    with training(slow, "killed", 11) as chain:
        chain[0].kill()
        slow.until(lambda: attempts(slow, 11) == 2, "the second attempt")
        step, task, supervisor = chain_of("killed")[:3]
        supervisor.kill()
        psutil.wait_procs([step, task], timeout=20)
        assert not [one for one in (step, task) if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert attempts(slow, 11) == 3


def test_the_scheduler_during_training(slow: House) -> None:
    with training(slow, "scheduler", 12) as chain:
        assert roll_out(slow, "killed") == "success"  # the first version goes straight in
        slow.kill("scheduler")
        psutil.wait_procs(chain[:1], timeout=20)
    assert attempts(slow, 12) == 2
    runs = [run["dag_run_id"] for run in slow.airflow.runs("slow")]
    versions = [slow.airflow.told("slow", run, "register").get("facts", {}).get("version") for run in runs]
    assert len(set(versions)) == len(runs)  # each registered one, once


def test_a_rollout_survives_triggerer_scheduler_and_model_server(slow: House) -> None:
    """Of the version that the test before has registered; its users lose no answer."""
    run_id = rollout_of(slow, "scheduler")
    slow.until(lambda: slow.state("slow__rollout", run_id, "canary_50") == "deferred", "the canary's first stage")
    with traffic(slow) as answers:
        for part in ("serving", "triggerer", "scheduler"):
            slow.kill(part)
            time.sleep(3)
        assert slow.airflow.follow("slow__rollout", run_id, lambda _: None, timeout=300) == "success"
    older, newer = (slow.airflow.told("slow", run, "register")["facts"]["digest"] for run in ("killed", "scheduler"))
    now = served(slow)
    assert (now.stable, now.canary, now.replaced) == (newer, None, older)
    stages = [one for one in endpoints.generations(lake_of(slow).documents, "slow") if one.by == now.by]
    assert (now.by, len(stages)) == (f"slow__rollout/{run_id}", 2)  # each once
    assert answers.rows > 0
    assert answers.failed == 0, answers.error
