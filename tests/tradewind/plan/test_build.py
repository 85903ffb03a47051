"""A pipeline under a profile, as a plan."""

from __future__ import annotations

from typing import Any

import yaml

from tradewind.plan.build import build
from tradewind.plan.code import UserCode
from tradewind.plan.model import Plan, PlanDag
from tradewind.profile import Profile
from tradewind.spec import load_text

BODY: dict[str, Any] = {
    "version": 1,
    "pipeline": "p",
    "schedule": {"cron": "@daily", "start": "2024-01-01"},
    "sources": {"rows": {"sample": {"name": "breast_cancer"}}},
    "train": {"estimator": "sklearn.LogisticRegression", "label": "target"},
    "promote": {"model": "m", "when": {"roc_auc": {"min": 0.5}}},
    "deploy": {"canary": [10, 100]},
    "monitor": {"then": "retrain"},
    "score": {"keep": []},
}


def plan(**more: Any) -> Plan:
    pipeline = load_text(yaml.safe_dump(BODY | more), file="p.yaml")
    return build(pipeline, Profile(profile="local"), UserCode({}), file="p.yaml", text="text")


def ids(dag: PlanDag) -> list[str]:
    return [step.id for step in dag.steps]


def test_flows_and_their_steps() -> None:
    found = plan()
    assert [dag.dag_id for dag in found.dags] == ["p", "p__rollout", "p__monitor", "p__score"]
    train = ["pin", "ingest_rows", "check_rows", "transform", "train", "evaluate", "register", "release"]
    assert ids(found.dag("train")) == train
    assert ids(found.dag("rollout")) == ["select", "canary_10", "canary_100", "promote", "release"]


def test_every_step_comes_after_what_it_reads_and_the_last_releases_the_lease() -> None:
    for dag in plan(promote=BODY["promote"] | {"approval": "human"}).dags:
        before: set[str] = set()
        for step in dag.steps:
            assert set(step.upstream) <= before
            assert {source.partition(".")[0] for source in step.inputs.values() if ":" not in source} <= before
            assert step.when is None or step.when in before
            before.add(step.id)
        followed = {upstream for step in dag.steps for upstream in step.upstream}
        assert [step.id for step in dag.steps if step.id not in followed] == ["release"]


def test_a_person_who_approves_late_does_not_roll_out_what_was_superseded() -> None:
    dag = plan(promote=BODY["promote"] | {"approval": "human"}).dag("rollout")
    assert ids(dag)[:4] == ["select", "approve", "confirm", "canary_10"]
    assert dag.step("confirm").inputs == {"version": "select.version"}


def test_drift_wakes_the_training_and_a_version_its_rollout() -> None:
    found = plan()
    assert found.dag("train").schedule.assets == found.dag("monitor").step("request_retraining").outlets
    assert found.dag("rollout").schedule.assets == found.dag("train").step("register").outlets


def test_the_same_text_gives_the_same_plan_and_it_survives_json() -> None:
    found = plan()
    assert found.digest == plan().digest
    assert Plan.model_validate_json(found.model_dump_json()) == found


def test_defaults_of_a_step_kind_hold_for_it_alone() -> None:
    found = plan(defaults={"retries": 1, "steps": {"train": {"retries": 5}}}).dag("train")
    assert (found.step("train").retries, found.step("evaluate").retries) == (5, 1)
