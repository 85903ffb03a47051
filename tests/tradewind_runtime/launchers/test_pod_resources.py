"""What a step asks for, as Kubernetes gets it: from the YAML and from what the profile has and allows."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.restricted import assert_restricted

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.resources import Resources
from tradewind_runtime.launchers.pod import PodSettings, pod, refusals, wanted

IMAGE = "registry.example.com/tradewind/steps:1"
DIGEST = "0123456789abcdef" * 4
REQUEST = StepRequest(step="train", id="train", pipeline="flights", run_id="r1", lake="s3://b/l")
LOST = [
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10}
    for what in ("not-ready", "unreachable")
]
OPEN = PodSettings.model_validate(
    {
        "gpu_kinds": {
            "H100": {
                "selector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
                "tolerations": [{"key": "h100", "value": "yes"}],
            },
            "MI300X": {"selector": {"amd.com/gpu.family": "AI"}, "resource": "amd.com/gpu"},
        },
        "spot": {"selector": {"pool": "spot"}, "tolerations": [{"key": "spot", "operator": "Exists"}]},
        "images": ["registry.example.com/ml/", "registry.example.com/one"],
        "env_secrets": ["team-a-*"],
        "claims": ["data-*"],
        "config_maps": ["lists"],
        "secrets": {"s3_lake": "team-a-lake/s3"},
    }
)


def made(asked: dict[str, Any], given: PodSettings = OPEN) -> dict[str, Any]:
    found = pod(REQUEST, given, image=IMAGE, resources=Resources.model_validate(asked), timeout=60)
    kubernetes_validate.validate(found, "1.34", strict=True)
    assert_restricted(found["spec"])
    return found["spec"]


def limits(spec: dict[str, Any]) -> dict[str, str]:
    amounts = spec["containers"][0]["resources"]
    assert amounts["requests"] == amounts["limits"]
    return amounts["limits"]


def test_a_kind_of_gpu_is_where_the_profile_says():
    spec = made({"gpu": {"count": 2, "kind": "H100"}})
    assert limits(spec)["nvidia.com/gpu"] == "2"
    assert spec["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert spec["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "h100", "operator": "Equal", "value": "yes"},
        *LOST,
    ]
    other = made({"gpu": {"kind": "MI300X"}})
    assert limits(other)["amd.com/gpu"] == "1"
    assert other["tolerations"][0]["key"] == "amd.com/gpu"


def test_without_kinds_in_the_profile_the_nodes_own_label_says():
    spec = made({"gpu": {"kind": "Tesla-T4"}}, PodSettings())
    assert spec["nodeSelector"] == {"nvidia.com/gpu.product": "Tesla-T4"}


def test_a_part_of_a_gpu_is_a_resource_of_its_own():
    amounts = limits(made({"gpu": {"count": 2, "kind": "H100", "mig": "1g.10gb"}}))
    assert amounts == {"cpu": "1", "memory": "2Gi", "nvidia.com/mig-1g.10gb": "2"}


def test_a_lost_node_is_not_waited_for():
    assert made({}, PodSettings())["tolerations"] == LOST
    assert made({}, PodSettings(node_lost_after=5))["tolerations"][0]["tolerationSeconds"] == 5
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 600}
    assert made({"tolerations": [own]})["tolerations"] == [own, LOST[1]]


def test_shared_memory_and_disk():
    spec = made({"memory": "4Gi", "shm": "2Gi", "ephemeral": "20Gi"})
    volumes = {one["name"]: one["emptyDir"] for one in spec["volumes"]}
    assert volumes == {
        "tmp": {"sizeLimit": "10Gi"},
        "scratch": {"sizeLimit": "20Gi"},
        "shm": {"medium": "Memory", "sizeLimit": "2Gi"},
    }
    assert {"name": "shm", "mountPath": "/dev/shm"} in spec["containers"][0]["volumeMounts"]
    assert limits(spec)["ephemeral-storage"] == "20Gi"
    assert limits(spec)["memory"] == "4Gi"


def test_spot_nodes_are_where_the_profile_says():
    spec = made({"spot": True, "node_selector": {"zone": "a"}, "priority": "batch"})
    assert spec["nodeSelector"] == {"zone": "a", "pool": "spot"}
    assert spec["tolerations"][0] == {"key": "spot", "operator": "Exists"}
    assert spec["priorityClassName"] == "batch"


def test_an_image_variables_and_volumes():
    spec = made(
        {
            "image": "registry.example.com/ml/train:2",
            "env": {"HF_TOKEN": "team-a-hub/token"},
            "volumes": [
                {"claim": "data-flights", "path": "/data"},
                {"claim": "data-cache", "path": "/cache", "read_only": False},
                {"config_map": "lists", "path": "/lists"},
            ],
        }
    )
    container = spec["containers"][0]
    assert container["image"] == "registry.example.com/ml/train:2"
    secret = {"secretKeyRef": {"name": "team-a-hub", "key": "token"}}
    assert {"name": "HF_TOKEN", "valueFrom": secret} in container["env"]
    assert [one for one in spec["volumes"] if "emptyDir" not in one] == [
        {"name": "volume-0", "persistentVolumeClaim": {"claimName": "data-flights", "readOnly": True}},
        {"name": "volume-1", "persistentVolumeClaim": {"claimName": "data-cache", "readOnly": False}},
        {"name": "volume-2", "configMap": {"name": "lists"}},
    ]
    assert container["volumeMounts"][-3:] == [
        {"name": "volume-0", "mountPath": "/data", "readOnly": True},
        {"name": "volume-1", "mountPath": "/cache", "readOnly": False},
        {"name": "volume-2", "mountPath": "/lists", "readOnly": True},
    ]
    assert spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_a_cluster_may_assign_the_user():
    ids = {"runAsUser", "runAsGroup", "fsGroup"}
    assert set(made({})["securityContext"]) & ids == ids
    assert not set(made({}, PodSettings(user=None))["securityContext"]) & ids


@pytest.mark.parametrize(
    ("asked", "code", "path"),
    [
        ({"gpu": {"kind": "H10"}}, "TW162", "resources.gpu.kind"),
        ({"gpu": {"kind": "MI300X", "mig": "1g.10gb"}}, "TW162", "resources.gpu.mig"),
        ({"image": "registry.example.com/other/x:1"}, "TW163", "resources.image"),
        ({"image": "registry.example.com/one-more:1"}, "TW163", "resources.image"),
        ({"env": {"TOKEN": "team-b-hub/token"}}, "TW163", "resources.env.TOKEN"),
        ({"env": {"TOKEN": "team-a-lake/s3"}}, "TW163", "resources.env.TOKEN"),  # it holds a connection
        ({"volumes": [{"claim": "other", "path": "/data"}]}, "TW163", "resources.volumes.0.claim"),
        ({"volumes": [{"config_map": "other", "path": "/data"}]}, "TW163", "resources.volumes.0.config_map"),
        ({"spot": True, "node_selector": {"pool": "mine"}}, "TW163", "resources.node_selector.pool"),
        ({"pod_override": {}}, "TW163", "resources.pod_override"),
    ],
)
def test_what_the_profile_does_not_have_or_allow(asked, code, path):
    with pytest.raises(StepError, match=code) as caught:
        made(asked)
    assert caught.value.problems[0].path == path
    assert not caught.value.retryable


def test_a_profile_that_says_nothing_allows_nothing():
    for asked in ({"spot": True}, {"image": "a:1"}, {"env": {"A": "b/c"}}, {"volumes": [{"claim": "a", "path": "/a"}]}):
        assert [*refusals(Resources.model_validate(asked), PodSettings())], asked


@pytest.mark.parametrize("image", ["registry.example.com/one:1", f"registry.example.com/one@sha256:{DIGEST}"])
def test_an_image_may_be_allowed_by_its_name(image):
    assert made({"image": image})["containers"][0]["image"] == image


def test_what_a_step_gets_is_the_yamls_else_the_profiles():
    given = PodSettings(resources={"train": Resources(cpu=3, image="i:1")})
    assert wanted("train", {}, given).image == "i:1"
    assert wanted("train", {"cpu": 2}, given) == Resources(cpu=2)
    assert wanted("tune", None, given) == Resources()


SIZES = st.sampled_from(["64Mi", "1Gi", "2Gi"])
KEYS = st.sampled_from(["example.com/pool", "zone", "disk"])
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from([0.1, 1, 2.5, 64]),
        "memory": st.sampled_from(["2Gi", "512Gi"]),
        "gpu": st.integers(0, 8)
        | st.fixed_dictionaries(
            {}, optional={"count": st.integers(1, 8), "kind": st.just("H100"), "mig": st.just("1g.10gb")}
        ),
        "shm": SIZES,
        "ephemeral": SIZES,
        "spot": st.booleans(),
        "node_selector": st.dictionaries(KEYS, st.sampled_from(["a", "b"]), max_size=2),
        "tolerations": st.lists(
            st.fixed_dictionaries({"key": KEYS}, optional={"effect": st.sampled_from(["NoSchedule", "NoExecute"])}),
            max_size=3,
        ),
        "priority": st.just("batch"),
        "image": st.sampled_from(["registry.example.com/ml/a:1", "registry.example.com/ml/b/c:x"]),
        "env": st.dictionaries(st.sampled_from(["HF_TOKEN", "KEY"]), st.just("team-a-hub/token")),
        "volumes": st.lists(
            st.fixed_dictionaries(
                {"claim": st.sampled_from(["data-a", "data-b"]), "path": st.sampled_from(["/data", "/opt/x"])},
                optional={"read_only": st.booleans()},
            ),
            max_size=2,
            unique_by=lambda one: one["path"],
        ),
        "after_oom": st.just(1.5),
    },
)


@given(asked=ASKED, user=st.none() | st.just(1000))
def test_whatever_is_asked_for_the_pod_is_valid_and_restricted(asked, user):
    made(asked, OPEN.model_copy(update={"user": user}))
