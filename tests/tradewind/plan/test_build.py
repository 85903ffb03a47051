"""A pipeline under a profile, as a plan."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests.tradewind.plan.small import BODY, ids, plan

from tradewind.plan.model import Plan, PlanStep, table_asset
from tradewind.plan.replay import replay_of
from tradewind.profile import Profile
from tradewind.spec import load_text
from tradewind.spec.awaited import tables_of


def test_flows_and_their_steps() -> None:
    found = plan()
    assert [dag.dag_id for dag in found.dags] == ["p", "p__rollout", "p__monitor", "p__score", "p__maintenance"]
    train = ["pin", "ingest_rows", "check_rows", "transform", "train", "evaluate", "register", "release"]
    assert ids(found.dag("train")) == train
    assert ids(found.dag("rollout")) == ["select", "canary_10", "canary_100", "promote", "release"]


def stage(**given: Any) -> PlanStep:
    kubernetes = {"namespace": "ml"}
    own = {"image": "i"} | given.pop("own", {})
    body = {"profile": "cluster", "serving": {"own": own}, "kubernetes": kubernetes} | given
    environments = {"steps": {"image": "i"}}
    return plan(Profile.model_validate(body | {"environments": environments})).dag("rollout").step("canary_10")


def test_a_replay_knows_its_endpoints_own_server_from_the_plan() -> None:
    assert stage().config["server"] == "http://serve-m.ml.svc"
    assert "sleeps" not in stage().config
    kserve = stage(own={"kind": "kserve", "replicas": {"min": 0, "max": 2}}).config
    assert (kserve["server"], kserve["sleeps"]) == ("http://serve-m-predictor.ml.svc", True)
    shared = plan().dag("rollout").step("canary_10")
    assert (shared.config.keys() & {"server", "sleeps"}, shared.secrets) == (set(), {})


def test_a_replay_runs_where_the_profile_says_and_the_token_is_named_by_its_secret() -> None:
    replay = replay_of(stage(runner="kubernetes", own={"token": "callers/token"}))
    assert (replay.kind, replay.runner, replay.secrets) == (
        "replay", "kubernetes", {"TRADEWIND_SERVING_TOKEN": "callers/token"},
    )  # fmt: skip
    assert replay.config == {"endpoint": "m", "requests": 200, "server": "http://serve-m.ml.svc"}
    assert stage(runner="kubernetes", runners={"replay": "process"}).runner == "process"
    assert stage(runner="process").runner == "process"


def test_an_endpoints_own_server_comes_before_its_first_stage() -> None:
    own = {"image": "registry.example.com/serving:1"}
    found = plan(Profile.model_validate({"profile": "cluster", "serving": {"own": own}}))
    assert ids(found.dag("rollout")) == ["select", "serve", "canary_10", "canary_100", "promote", "release"]
    assert found.dag("rollout").step("canary_10").upstream == ("serve",)
    assert found.kubernetes["namespace"] == "tradewind"


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


def test_a_check_of_age_or_volume_is_anew_for_each_run_and_others_are_as_they_were() -> None:
    expectation = {"expect_column_to_exist": {"column": "target"}}
    shape = {"schema": {"columns": {"target": "long"}}}
    for checks, pinned in (
        ([], set()),
        ([expectation, shape], set()),
        ([expectation, {"volume": {"min": 1}}], {"window", "created", "backfill"}),
        ([{"freshness": {"max_age": "1d", "column": "_ingested"}}], {"window", "created", "backfill"}),
    ):
        step = plan(checks={"rows": checks}).dag("train").step("check_rows")
        assert (set(step.pins), step.windowed) == (pinned, False)
        names = [one["name"] for one in step.config["expectations"]]
        assert names == [next(iter(one)) for one in checks]
        assert step.config.keys() == {"source", "expectations"}


@pytest.mark.parametrize(("name", "windowed"), [("a", False), ("{window.date}", True), ("{window.date:%Y/%m}", True)])
def test_dates_of_the_window_in_an_address_are_told_to_its_step(name: str, windowed: bool) -> None:
    sources = {"rows": {"objects": {"uri": f"in/{name}/*.csv"}}}
    assert plan(sources=sources).dag("train").step("ingest_rows").windowed == windowed


def test_drift_wakes_the_training_and_a_version_its_rollout() -> None:
    found = plan()
    assert found.dag("train").schedule.assets == found.dag("monitor").step("request_retraining").outlets
    assert found.dag("rollout").schedule.assets == found.dag("train").step("register").outlets


def test_only_the_training_comes_after_others_tables() -> None:
    found = plan(schedule={"after": ["tradewind://table/other/features"]}, monitor={"then": "alert"})
    assert {dag.flow: dag.schedule.after for dag in found.dags if dag.schedule.after} == {
        "train": ("tradewind://table/other/features",)
    }


def test_the_same_text_gives_the_same_plan_and_it_survives_json() -> None:
    found = plan()
    assert found.digest == plan().digest
    assert Plan.model_validate_json(found.model_dump_json()) == found


def test_the_tables_that_others_may_wait_for_are_those_that_steps_tell_of() -> None:
    outlets = {asset for dag in plan().dags for step in dag.steps for asset in step.outlets}
    made = {table_asset("p", name) for name in tables_of(load_text(yaml.safe_dump(BODY)))}
    assert made == {asset for asset in outlets if asset.startswith("tradewind://table/")}


def test_tables_are_kept_in_order_by_a_dag_of_their_own_beyond_the_last_day() -> None:
    schedule = {"cron": "@daily", "start": "2013-01-01", "end": "2013-12-31", "timezone": "Europe/Oslo"}
    found = plan(schedule=schedule).dag("maintenance")
    assert ids(found) == ["maintain", "release"]
    assert (found.schedule.cron, found.schedule.end, found.schedule.timezone) == ("@weekly", None, "Europe/Oslo")
    assert found.step("maintain").config["maintenance"] == {
        "schedule": "@weekly", "keep": 2592000.0, "compact": True, "retain": {},
    }  # fmt: skip
    assert "maintenance" not in {dag.flow for dag in plan(maintenance=None).dags}


def test_each_table_whose_rows_go_is_told_by_which_column() -> None:
    retain = {
        "rows_raw": "400d", "rows_quarantine": "90d", "m_requests": "30d", "features": {"rows": "2w", "by": "seen"},
        "day_raw": "1d", "checks": "60d",
    }  # fmt: skip
    sources = {
        "rows": {"kafka": {"topic": "rows"}},
        "day": {"kafka": {"topic": "days"}, "columns": {"at": "date"}, "time": "at"},
    }
    found = plan(
        sources=sources, transform={"sql": {"query": "select 1"}}, checks={"rows": [{"volume": {"min": 1}}]},
        maintenance={"retain": retain},
    ).dag("maintenance")  # fmt: skip
    retained = found.step("maintain").config["maintenance"]["retain"]
    assert {name: (one["rows"] / 86400, one["by"]) for name, one in retained.items()} == {
        "rows_raw": (400, "_ingested"), "rows_quarantine": (90, "ingested"), "m_requests": (30, "_time"),
        "features": (14, "seen"), "day_raw": (1, "at"), "checks": (60, "time"),
    }  # fmt: skip


def test_objects_are_watched_as_a_run_sees_them_that_nobody_starts_and_ingestion_knows_no_waiting() -> None:
    weather = {"uri": "s3://landing/{params.station}/*.csv", "connection": "s3", "wait": "6h"}
    found = plan(
        Profile(profile="local", settings={"project": "/a project"}),
        params={"station": "JFK"},
        schedule={"arrival": {"source": "weather", "objects": 24}},
        sources={"weather": {"objects": weather}},
        monitor={"then": "alert"},
    )
    arrival = found.dag("train").schedule.arrival
    assert arrival is not None
    assert arrival.objects is not None
    assert arrival.objects["uri"] == "s3://landing/JFK/*.csv"
    assert (arrival.enough, arrival.kafka, arrival.project, arrival.waits) == (24, None, "/a project", True)
    pin, ingest = (found.dag("train").step(id).config for id in ("pin", "ingest_weather"))
    assert pin["sources"]["weather"]["objects"]["wait"] == 6 * 3600
    assert "wait" not in ingest["source"]["objects"], "or a longer one would have all done again"
