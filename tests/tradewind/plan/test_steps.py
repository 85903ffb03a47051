"""A step is completed from the pipeline's defaults."""

from __future__ import annotations

from tests.tradewind.plan.small import BODY, plan


def test_defaults_of_a_step_kind_hold_for_it_alone() -> None:
    found = plan(defaults={"retries": 1, "steps": {"train": {"retries": 5}}}).dag("train")
    assert (found.step("train").retries, found.step("evaluate").retries) == (5, 1)


def test_defaults_of_a_block_hold_for_all_that_it_becomes() -> None:
    found = plan(
        promote=BODY["promote"] | {"approval": "human"},
        defaults={"retries": 1, "steps": {"rollout": {"retries": 6}, "monitor": {"retries": 4}}},
    )
    rollout, monitor = found.dag("rollout"), found.dag("monitor")
    assert [rollout.step(id).retries for id in ("select", "confirm", "canary_10", "promote")] == [6] * 4
    assert [monitor.step(id).retries for id in ("ingest_requests", "drift", "pin")] == [4, 4, 1]
