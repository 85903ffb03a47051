"""A step is completed from the pipeline's defaults."""

from __future__ import annotations

from tests.tradewind.plan.small import BODY, plan

from tradewind.profile import Profile


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


def test_steps_on_a_cluster_of_sparks_are_given_its_connection() -> None:
    profile = Profile(profile="x", settings={"spark": {"master": "spark://h:7077", "connection": "spark_default"}})
    tune = {"hyperopt": {"trials": 2, "space": {"C": {"float": [0.1, 1]}}}, "workers": "spark"}
    found = plan(profile, {"spark_jobs/j.py": b""}, transform={"spark": {"job": "spark_jobs/j.py"}}, tune=tune).dag(
        "train"
    )
    given = {step.id: step.connections.get("spark") for step in found.steps}
    assert {id for id, connection in given.items() if connection} == {"transform", "tune"}
    assert set(given.values()) == {None, "spark_default"}
    others = plan(profile, transform={"sql": {"query": "SELECT 1"}}).dag("train")
    assert not any("spark" in step.connections for step in others.steps)


def test_a_sources_engine_is_that_of_its_steps() -> None:
    profile = Profile(profile="x", settings={"spark": {"master": "spark://h:7077", "connection": "spark_default"}})
    kafka = {"kafka": {"topic": "a"}, "columns": {"target": "double"}}
    sources = {"one": kafka | {"engine": "spark"}, "two": kafka}
    found = plan(profile, sources=sources, transform={"sql": {"query": "SELECT * FROM one JOIN two USING (target)"}})
    engines = {step.id: step.engine for step in found.dag("train").steps if step.kind in ("ingest", "check")}
    assert engines == {"ingest_one": "spark", "check_one": "spark", "ingest_two": "python", "check_two": "python"}
    given = {step.id for step in found.dag("train").steps if "spark" in step.connections}
    assert given == {"ingest_one", "check_one"}
