"""What a YAML asks of its profile."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tradewind.plan.small import BODY, plan

from tradewind.cli.plan import planned
from tradewind.compiler import compile_project
from tradewind.errors import TradewindError
from tradewind.profile import Environment, Profile, Registry, load_profile

TORCH = Profile(profile="local", environments={"steps": Environment(), "torch": Environment()})


def test_environments_of_the_profile_are_right() -> None:
    found = plan(TORCH, defaults={"environment": "steps", "steps": {"train": {"environment": "torch"}}}).dag("train")
    assert [found.step(id).environment for id in ("check_rows", "train")] == ["steps", "torch"]


@pytest.mark.parametrize(
    ("defaults", "path"),
    [
        ({"environment": "trch"}, "defaults.environment"),
        ({"steps": {"train": {"environment": "trch"}}}, "defaults.steps.train.environment"),
        ({"steps": {"rollout": {"environment": "trch"}}}, "defaults.steps.rollout.environment"),
    ],
)
def test_an_environment_that_the_profile_does_not_have(defaults: object, path: str) -> None:
    with pytest.raises(TradewindError) as caught:
        plan(TORCH, defaults=defaults)
    [problem] = caught.value.problems
    assert (problem.code, problem.path, problem.got, problem.suggestion) == ("TW160", path, "trch", "torch")


def test_what_is_said_of_steps_that_there_are_not_harms_nobody() -> None:
    text = {"steps": {"tune": {"environment": "trch"}}}
    assert "tune" not in BODY
    assert plan(TORCH, defaults=text)


def swept(**budget: object) -> dict[str, object]:
    return {"optuna": {"space": {"C": {"float": [0, 1]}}, "budget": budget}}


def test_a_budget_in_money_wants_a_price() -> None:
    for settings in ({}, {"price_per_hour": "dear"}, {"price_per_hour": 0}):
        with pytest.raises(TradewindError) as caught:
            plan(Profile(profile="local", settings=settings), tune=swept(cost=12.5))
        [problem] = caught.value.problems
        assert (problem.code, problem.path, problem.got) == ("TW161", "tune.optuna.budget.cost", 12.5)
        assert problem.line is not None
    assert plan(tune=swept(cost=12.5, price_per_hour=0.4))
    assert plan(Profile(profile="local", settings={"price_per_hour": 0.4}), tune=swept(cost=12.5))
    assert plan(tune=swept(time="2h"))


def test_a_sweep_is_handed_the_registry() -> None:
    profile = Profile(profile="local", registry=Registry(connection="mlflow_default"))
    found = plan(profile, tune=swept(time="2h")).dag("train")
    assert found.step("tune").connections == {"registry": "mlflow_default"}
    assert found.step("train").connections == {}


def test_plan_and_bundle_say_where(tmp_path: Path) -> None:
    file, profile = tmp_path / "dags/pipelines/a.yaml", tmp_path / "profiles/local.yaml"
    for path, text in (
        (file, "version: 1\npipeline: a\nsources: {rows: {sample: {name: iris}}}\ndefaults:\n  environment: stesp\n"),
        (profile, "profile: local\nenvironments: {steps: {python: python3}}\n"),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    with pytest.raises(TradewindError) as caught:
        planned(file, "local")
    [compiled] = compile_project(tmp_path, tmp_path / "out", load_profile("local", project=tmp_path), version="v")
    for problem in (*caught.value.problems, *compiled.problems):
        assert (problem.code, problem.file, problem.line, problem.column) == ("TW160", "dags/pipelines/a.yaml", 5, 16)
    assert "TW160" in compiled.stub.read_text()
