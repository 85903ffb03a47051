"""A canary that must not stay: one that answers differently, and one whose rollout is cancelled."""

from __future__ import annotations

import pytest
from tests.e2e.house import House
from tests.e2e.slow import lake_of, roll_out, rollout_of, served, traffic, yaml

from tradewind_runtime import endpoints

pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def judged(slow: House) -> House:
    """The house with a version that is served, and a pipeline that judges the next one quickly and by its answers."""
    if endpoints.latest(lake_of(slow).documents, "slow") is None:  # no other module's tests came before
        assert slow.run("slow", "good", rounds=41)[0] == "success"
        assert roll_out(slow, "good") == "success"  # the first version goes straight in
    quick = yaml(slow).replace("min_time: 12s", "min_time: 1s").replace("shift: 1}", "shift: 0.25}")
    slow.write("slow.yaml", quick + "description: strict\n")
    slow.until(lambda: (slow.dag("slow") or {}).get("description") == "strict", "the changed DAG")
    return slow


def test_a_canary_that_answers_differently_goes_back_by_itself(judged: House) -> None:
    before = served(judged)
    assert judged.run("slow", "odd", rounds=1)[0] == "success"
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
    """Of the version that the test before has gone back from, asked for once more; nobody sends any requests."""
    before, run_id = served(judged), "unwanted"
    version = judged.airflow.told("slow", "odd", "register")["facts"]["version"]
    judged.trigger("slow__rollout", run_id, version=version)
    judged.until(lambda: served(judged).canary is not None, "the canary")
    judged.airflow.call("PATCH", f"/dags/slow__rollout/dagRuns/{run_id}", json={"state": "failed"})
    assert judged.airflow.follow("slow__rollout", run_id, lambda _: None) == "failed"
    judged.until(lambda: served(judged).canary is None, "an endpoint without a canary")
    assert served(judged).stable == before.stable
    assert "canary_50" in served(judged).reason
