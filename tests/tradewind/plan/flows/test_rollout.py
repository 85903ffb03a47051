"""A challenger takes over by stages."""

from __future__ import annotations

from tests.tradewind.plan.small import BODY, ids, plan


def test_a_person_who_approves_late_does_not_roll_out_what_was_superseded() -> None:
    dag = plan(promote=BODY["promote"] | {"approval": "human"}).dag("rollout")
    assert ids(dag)[:4] == ["select", "approve", "confirm", "canary_10"]
    assert dag.step("confirm").inputs == {"version": "select.version"}
