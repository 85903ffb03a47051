"""What a step's pod tells Spark of the pods that it may start."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
from tests.restricted import assert_restricted

from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.resources import Resources
from tradewind_runtime.launchers.pod import PodSettings, pod
from tradewind_runtime.launchers.pod.executors import CONTAINER, TEMPLATE
from tradewind_runtime.launchers.pod.names import ADDRESS, POD

IMAGE = "registry.example.com/tradewind/steps:1"
SETTINGS = PodSettings(
    namespace="ml", secrets={"s3_lake": "conns/lake"}, env_secrets=("team",), claims=("data",), node_selector={"a": "b"}
)
ASKED = Resources(env={"TOKEN": "team/token"}, volumes=({"claim": "data", "path": "/data"},))


def request(master: str = "k8s://", engine: str = "spark") -> StepRequest:
    return StepRequest(
        step="transform", id="transform", pipeline="flights", run_id="r1", lake="s3://b/l", engine=engine,
        settings={"spark": {"master": master}}, connections={"lake": "s3_lake"},
    )  # fmt: skip


def variables(made: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one for one in made["spec"]["containers"][0]["env"]}


def driver() -> dict[str, Any]:
    return pod(request(), SETTINGS, image=IMAGE, resources=ASKED, timeout=60)


def executor() -> dict[str, Any]:
    return dict(json.loads(variables(driver())[TEMPLATE]["value"]))


def test_a_driver_knows_itself_and_may_ask_kubernetes() -> None:
    made = driver()
    kubernetes_validate.validate(made, "1.34", strict=True)
    assert made["spec"]["automountServiceAccountToken"] is True
    assert variables(made)[POD]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert variables(made)[ADDRESS]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"


def test_others_are_told_nothing() -> None:
    for one in (request("local[2]"), request(engine="python")):
        made = pod(one, SETTINGS, image=IMAGE)
        assert made["spec"]["automountServiceAccountToken"] is False
        assert not [name for name in variables(made) if name.startswith("TRADEWIND_")]


def test_an_executor_is_its_driver_without_secrets_token_and_claims() -> None:
    made = executor()
    spec = made["spec"]
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "tradewind-flights"  # the identity by which it reaches the lake
    assert spec["nodeSelector"] == {"a": "b"}
    assert "activeDeadlineSeconds" not in spec
    assert not [one for one in container["env"] if "valueFrom" in one]
    assert all("emptyDir" in volume for volume in spec["volumes"])
    assert container["command"] == ["python", "-m", "tradewind_runtime.spark_executor"]


def test_its_disk_is_sparks_and_where_it_works() -> None:
    """All else is read-only, and user code is put where it works."""
    assert executor()["spec"]["containers"][0]["workingDir"] == "/scratch"
    mounts = {one["name"]: one["mountPath"] for one in executor()["spec"]["containers"][0]["volumeMounts"]}
    assert mounts == {"tmp": "/tmp", "spark-local-dir-1": "/scratch"}


def test_it_is_found_by_run_and_is_no_step() -> None:
    labels = executor()["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == CONTAINER
    assert labels["tradewind.dev/run"] == "r1"


def test_it_is_valid_and_restricted_once_spark_has_added_what_it_asks_for() -> None:
    made = executor()
    made["metadata"]["name"] = "tw-exec-1"
    made["spec"]["containers"][0]["resources"] = {
        "requests": {"cpu": "1", "memory": "2Gi"},
        "limits": {"memory": "2Gi"},
    }
    kubernetes_validate.validate(made, "1.34", strict=True)
    assert_restricted(made["spec"])
