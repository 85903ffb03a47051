"""What a YAML asks for its pods, and the profile does not have or allow: told where it is said, before a run."""

from __future__ import annotations

from typing import Any

import pytest
from tests.tradewind.plan.small import BODY, plan

from tradewind.errors import Problem, TradewindError
from tradewind.plan.build import build
from tradewind.plan.code import UserCode
from tradewind.plan.request import Run
from tradewind.profile import Profile, _impossible
from tradewind.spec import load_text
from tradewind.spec.nodes import parse
from tradewind_runtime.documents import Documents

CLUSTER = Profile.model_validate(
    {
        "profile": "cluster",
        "runner": "kubernetes",
        "environments": {"steps": {"image": "i:1"}},
        "kubernetes": {"gpu_kinds": {"H100": {"selector": {"gpu": "h100"}}, "A100": {"selector": {"gpu": "a100"}}}},
    }
)
OVERRIDING = CLUSTER.model_copy(update={"kubernetes": CLUSTER.kubernetes.model_copy(update={"pod_override": True})})
TRAIN = BODY["train"]
SPOT = {"spot": True}


def problems(profile: Profile, **more: Any) -> tuple[Problem, ...]:
    with pytest.raises(TradewindError) as caught:
        plan(profile, **more)
    return caught.value.problems


def test_what_the_profile_has_is_in_the_plan_as_it_was_written() -> None:
    asked = {"gpu": {"kind": "H100"}, "tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 3}]}
    found = plan(CLUSTER, train=TRAIN | {"resources": asked}).dag("train")
    assert found.step("train").resources == asked
    assert found.step("train").settings["gpus"] == 1
    assert found.step("evaluate").resources == {}
    assert "gpus" not in found.step("evaluate").settings
    short = plan(CLUSTER, train=TRAIN | {"resources": {"gpu": 2}}).dag("train").step("train")
    assert short.resources == {"gpu": {"count": 2}}


def test_a_kind_of_gpu_that_there_is_not_is_told_where_it_stands() -> None:
    text = "version: 1\npipeline: p\nsources: {rows: {sample: {name: iris}}}\ntrain:\n  label: target\n"
    text += "  estimator: sklearn.Ridge\n  task: regression\n  resources:\n    gpu: {count: 1, kind: H10}\n"
    node, _ = parse(text, "p.yaml")
    with pytest.raises(TradewindError) as caught:
        build(load_text(text), CLUSTER, UserCode({}), file="p.yaml", node=node)
    [problem] = caught.value.problems
    assert (problem.code, problem.line, problem.column) == ("TW162", 9, 27)
    assert (problem.path, problem.got, problem.suggestion) == ("train.resources.gpu.kind", "H10", "H100")
    assert problem.expected == "H100, A100"
    assert problem.fix == "kubernetes: {gpu_kinds: {H10: {selector: {…}}}} in profiles/cluster.yaml"


@pytest.mark.parametrize(
    ("more", "code", "path"),
    [
        ({"defaults": {"resources": SPOT}}, "TW162", "defaults.resources.spot"),
        ({"defaults": {"steps": {"check": {"resources": SPOT}}}}, "TW162", "defaults.steps.check.resources.spot"),
        ({"train": TRAIN | {"resources": {"image": "i:2"}}}, "TW163", "train.resources.image"),
        ({"train": TRAIN | {"resources": {"env": {"A": "b/c"}}}}, "TW163", "train.resources.env.A"),
        (
            {"train": TRAIN | {"resources": {"volumes": [{"claim": "a", "path": "/a"}]}}},
            "TW163",
            "train.resources.volumes[0].claim",
        ),
        ({"train": TRAIN | {"resources": {"pod_override": {}}}}, "TW163", "train.resources.pod_override"),
    ],
)  # fmt: skip
def test_what_the_profile_does_not_have_or_allow_is_told_once(more: dict[str, Any], code: str, path: str) -> None:
    [problem] = problems(CLUSTER, **more)
    assert (problem.code, problem.path) == (code, path)
    assert "profiles/cluster.yaml" in str(problem.fix)


def test_a_pod_override_is_held_against_the_standard() -> None:
    [problem] = problems(OVERRIDING, train=TRAIN | {"resources": {"pod_override": {"hostNetwork": True}}})
    assert (problem.code, problem.path) == ("TW164", "train.resources.pod_override")
    assert "hostNetwork" in problem.message
    assert plan(OVERRIDING, train=TRAIN | {"resources": {"pod_override": {"hostname": "a"}}})


def test_a_process_of_this_machine_has_no_use_for_them() -> None:
    asked = {"gpu": {"kind": "X"}, "spot": True, "image": "i:2", "pod_override": {"hostNetwork": True}}
    assert plan(train=TRAIN | {"resources": asked}).dag("train").step("train").runner == "process"


def test_what_training_asks_for_comes_before_the_defaults() -> None:
    defaults = {"resources": {"cpu": 2}, "steps": {"train": {"resources": {"cpu": 3}}}}
    cpus = [
        plan(CLUSTER, train=train, defaults=defaults).dag("train").step("train").resources
        for train in (TRAIN, TRAIN | {"resources": {"cpu": 4}})
    ]
    assert cpus == [{"cpu": 3.0}, {"cpu": 4.0}]
    assert plan(CLUSTER).dag("train").step("train").resources == {}  # the profile's


def test_resources_do_not_name_a_result(tmp_path: Any) -> None:
    def names(**more: Any) -> dict[str, str]:
        made = plan(CLUSTER, train=TRAIN | {"when": "always"} | more.pop("train", {}), **more)
        run = Run(made, "train", "r", Documents(f"file://{tmp_path}/lake"))
        bare = {"inputs": {}, "pins": {}, "windowed": False}
        steps = (step.model_copy(update=bare) for step in made.dag("train").steps)
        return {step.id: run.request(step).fingerprint for step in steps}

    asked = {"cpu": 2, "gpu": 1, "node_selector": {"a": "b"}, "after_oom": 2}
    assert names() == names(train={"resources": asked}) == names(defaults={"resources": asked})
    assert names()["train"] != names(train={"seed": 8})["train"]


def test_a_profiles_own_resources_are_held_against_it() -> None:
    kubernetes = {"gpu_kinds": {"H100": {}}, "resources": {"train": {"gpu": {"kind": "H10"}, "spot": True}}}
    profile = Profile.model_validate({"profile": "cluster", "kubernetes": kubernetes})
    assert [(one.code, one.path, one.suggestion) for one in _impossible(profile)] == [
        ("TW162", "kubernetes.resources.train.gpu.kind", "H100"),
        ("TW162", "kubernetes.resources.train.spot", None),
    ]
