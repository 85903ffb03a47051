"""A profile asks of each kind of step only what it can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.errors import TradewindError
from tradewind.plan.kinds import KINDS
from tradewind.profile import Profile, load_profile

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "path", "words", "suggestion"),
    [
        ("runners: {pin: kubernetes}", "runners.pin", "'pin' does not run on kubernetes", None),
        ("runners: {trian: process}", "runners.trian", "no kind of step 'trian'", "train"),
        ("kubernetes: {resources: {stage: {}}}", "kubernetes.resources.stage", "does not run on kubernetes", None),
        ("heavy: [train, scores]", "heavy[1]", "no kind of step 'scores'", "score"),
    ],
)
def test_what_no_step_can_do_is_refused(
    tmp_path: Path, text: str, path: str, words: str, suggestion: str | None
) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "local.yaml").write_text(f"profile: local\n{text}\n")
    with pytest.raises(TradewindError) as caught:
        load_profile("local", project=tmp_path)
    [problem] = caught.value.problems
    assert (problem.code, problem.path, problem.suggestion) == ("TW304", path, suggestion)
    assert words in problem.message
    assert problem.file == str(tmp_path / "profiles" / "local.yaml")


def test_how_beam_runs_is_read_with_the_profile(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "local.yaml").write_text("profile: local\nsettings: {beam: {runner: flink}}\n")
    with pytest.raises(TradewindError, match="the runner flink needs job_endpoint") as caught:
        load_profile("local", project=tmp_path)
    assert caught.value.problems[0].code == "TW303"


@pytest.mark.parametrize(
    "options",
    [
        "{s3_secret_access_key: VERYSECRET}",
        """{environment_config: '{"env": {"AWS_SECRET_ACCESS_KEY": "VERYSECRET"}}'}""",
    ],
)
def test_a_secret_in_a_profile_is_refused_and_not_shown(tmp_path: Path, options: str) -> None:
    (tmp_path / "profiles").mkdir()
    text = f"profile: local\nsettings: {{beam: {{runner: direct, options: {options}}}}}\nlake: VERYSECRET\n"
    (tmp_path / "profiles" / "local.yaml").write_text(text)
    with pytest.raises(TradewindError, match="would show a secret") as caught:
        load_profile("local", project=tmp_path)
    assert "VERYSECRET" not in str(caught.value)


def test_a_default_does_not_hold_for_kinds_that_cannot() -> None:
    profile = Profile(profile="cluster", runner="kubernetes", runners={"promote": "process"})
    found = {kind: profile.runner_of(kind) for kind in ("pin", "release", "promote", "train")}
    assert found == {"pin": "process", "release": "process", "promote": "process", "train": "kubernetes"}


@pytest.mark.parametrize("name", ["local", "cluster"])
def test_our_profiles_are_right(name: str) -> None:
    profile = load_profile(name, project=ROOT)
    assert {profile.runner_of(kind) in one.runners for kind, one in KINDS.items()} == {True}
