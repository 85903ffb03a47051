"""A run that is under way: its lines are there to read, it can be cancelled, and a commit does not change it."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from tests.e2e.house import House
from tests.e2e.slow import training, yaml

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def alone(slow: House) -> Iterator[None]:
    """Nothing that they register is rolled out; in the end the pipeline is as it was."""
    slow.pause("slow__rollout")
    yield
    slow.write("slow.yaml", yaml(slow))
    slow.until(lambda: (slow.dag("slow") or {}).get("description") != "stricter", "the DAG as it was")
    slow.airflow.unpause("slow__rollout")


def test_cancelling_ends_what_was_started(slow: House) -> None:
    with training(slow, "cancelled", 32, ends="failed") as (step, *_):
        children = step.children(recursive=True)
        slow.airflow.call("PATCH", "/dags/slow/dagRuns/cancelled", json={"state": "failed"})
        assert psutil.wait_procs([step, *children], timeout=30)[1] == []
    state, tasks = slow.run("slow", "next", rounds=33)  # it waits for nobody
    assert (state, tasks["register"]) == ("success", "success")


def test_lines_can_be_read_while_it_runs_and_a_commit_does_not_change_it(slow: House) -> None:
    with training(slow, "during", 31) as (step, *_):
        slow.until(lambda: "the training has begun" in slow.log("slow", "during", "train"), "what it prints")
        assert step.is_running()
        slow.write("slow.yaml", yaml(slow).replace("min: 0.5", "min: 1.0") + "description: stricter\n")
        slow.until(lambda: (slow.dag("slow") or {}).get("description") == "stricter", "the changed DAG")
        assert step.is_running()
    assert slow.airflow.told("slow", "during", "evaluate")["verdict"]["passed"] is True
    assert slow.state("slow", "during", "register") == "success"

    state, tasks = slow.run("slow", "after", rounds=31, held=True)  # the same model, by the new gate
    assert (state, tasks["register"]) == ("success", "skipped")
    assert slow.airflow.told("slow", "after", "train")["adopted_from"] == "during"
