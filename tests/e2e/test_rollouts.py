"""A canary that must not stay: one that answers differently, and one whose rollout is cancelled."""

from __future__ import annotations

import pytest
from tests.e2e.house import House
from tests.e2e.slow import roll_out, rollout_of, served, traffic, yaml

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def judged(slow: House) -> House:
    """The house with a version that is served, and a pipeline that judges the next one quickly and by its answers."""
    quick = yaml(slow).replace("min_time: 20s", "min_time: 1s")
    committed(slow, quick, "quick")
    assert slow.run("slow", "good", rounds=41, seconds=0)[0] == "success"
    with traffic(slow):
        assert roll_out(slow, "good") == "success"
    committed(slow, quick.replace("shift: 1}", "shift: 0.25}"), "strict")
    return slow


def committed(house: House, text: str, name: str) -> None:
    """Change the pipeline, and tell the new one by its description."""
    house.write("slow.yaml", text + f"description: {name}\n")
    house.until(lambda: (house.dag("slow") or {}).get("description") == name, "the changed DAG")


def test_a_canary_that_answers_differently_goes_back_by_itself(judged: House) -> None:
    before = served(judged)
    assert judged.run("slow", "odd", rounds=1, seconds=0)[0] == "success"
    with traffic(judged) as answers:
        run_id = rollout_of(judged, "odd")
        judged.until(lambda: served(judged).number > before.number, "the canary")
        assert served(judged).by == f"slow__rollout/{run_id}"
        assert judged.airflow.follow("slow__rollout", run_id, lambda _: None) == "failed"
    now = served(judged)
    assert (now.stable, now.canary, now.number) == (before.stable, None, before.number + 2)
    assert "answers" in now.reason
    assert answers.failed == 0, answers.error
    assert "TW563" in judged.log("slow__rollout", run_id, "canary_50")
    assert judged.state("slow__rollout", run_id, "promote") == "upstream_failed"


def test_a_rollout_that_is_cancelled_leaves_no_canary(judged: House) -> None:
    before = served(judged)
    assert judged.run("slow", "unwanted", rounds=42, seconds=0)[0] == "success"
    run_id = rollout_of(judged, "unwanted")
    judged.until(lambda: served(judged).canary is not None, "the canary")
    judged.airflow.call("PATCH", f"/dags/slow__rollout/dagRuns/{run_id}", json={"state": "failed"})
    assert judged.airflow.follow("slow__rollout", run_id, lambda _: None) == "failed"
    judged.until(lambda: served(judged).canary is None, "an endpoint without a canary")
    assert served(judged).stable == before.stable
    assert "canary_50" in served(judged).reason
