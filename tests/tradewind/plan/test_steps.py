"""A step is completed from the pipeline's defaults."""

from __future__ import annotations

from tests.tradewind.plan.small import plan


def test_defaults_of_a_step_kind_hold_for_it_alone() -> None:
    found = plan(defaults={"retries": 1, "steps": {"train": {"retries": 5}}}).dag("train")
    assert (found.step("train").retries, found.step("evaluate").retries) == (5, 1)
