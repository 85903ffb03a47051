"""What an endpoint's own server is made of."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import kubernetes_validate
import pytest
from pydantic import ValidationError
from tests.servers.model_server import PYTHON as SERVING

from tradewind.servers import KINDS, OwnServer, Wanted
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.launchers.pod import PodSettings
from tradewind_runtime.serving.__main__ import FIRST_LOOK

IMAGE = "registry.example.com/tradewind/serving@sha256:" + "0" * 64
SETTINGS = PodSettings(namespace="ml", secrets={"s3_lake": "connections/s3_lake"})


def wanted(endpoint: str = "flights", settings: PodSettings = SETTINGS, **own: Any) -> Wanted:
    return Wanted(endpoint, "flight-delays", "s3://lake/x", "s3_lake", OwnServer(image=IMAGE, **own), settings)


def made(of: Wanted) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in KINDS[of.own.kind](of)}


def test_a_deployment_is_what_kubernetes_knows_and_the_restricted_standard_allows() -> None:
    found = made(wanted(replicas={"min": 2, "max": 5, "cpu": 60}, token="callers/token"))
    assert list(found) == ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]
    for one in found.values():
        kubernetes_validate.validate(one, "1.34", strict=True)
    spec = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not spec["automountServiceAccountToken"]
    assert spec["serviceAccountName"] == "tradewind-flight-delays"
    assert {"--lake=s3://lake/x", "--lake-connection=s3_lake", "--endpoint=flights"} <= set(container["args"])
    held = {one["name"]: one["valueFrom"].get("secretKeyRef") for one in container["env"] if "valueFrom" in one}
    assert held["AIRFLOW_CONN_S3_LAKE"] == {"name": "connections", "key": "s3_lake"}
    assert held["TRADEWIND_SERVING_TOKEN"] == {"name": "callers", "key": "token"}
    scaling = found["HorizontalPodAutoscaler"]["spec"]
    assert (scaling["minReplicas"], scaling["maxReplicas"]) == (2, 5)
    assert "replicas" not in found["Deployment"]["spec"], "the autoscaler's to say"


def test_it_may_take_its_time_to_load_its_models() -> None:
    (container,) = made(wanted())["Deployment"]["spec"]["template"]["spec"]["containers"]
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= FIRST_LOOK + 30  # of which it is imported


def test_kserve_knows_all_of_an_inference_service() -> None:
    """By KServe's own models, which refuse what they do not have."""
    (service,) = made(wanted(kind="kserve", replicas={"min": 0, "max": 3})).values()
    code = """
import json, sys
from kubernetes.client import ApiClient
import kserve
class Reply:
    data = sys.stdin.read()
body = json.loads(Reply.data)
client = ApiClient()
def known(cls, value, path):
    model = getattr(kserve, cls, None) or getattr(__import__("kubernetes").client, cls)
    names = {json_name: model.openapi_types[name] for name, json_name in model.attribute_map.items()}
    for key, item in value.items():
        if key not in names:
            sys.exit(f"{path}.{key}")
        kind = names[key]
        inner = kind.removeprefix("list[").rstrip("]")
        if inner[:2] in ("V1", "V2") and isinstance(item, (dict, list)):
            for one in item if isinstance(item, list) else [item]:
                known(inner, one, f"{path}.{key}")
known("V1beta1InferenceServiceSpec", body["spec"], "spec")
print("known")
"""
    done = subprocess.run(
        [str(SERVING), "-c", code], input=json.dumps(service), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "known", done.stderr
    assert service["spec"]["predictor"]["minReplicas"] == 0
    assert service["spec"]["predictor"]["containers"][0]["name"] == "kserve-container"


def test_the_profile_alone_makes_another_revision() -> None:
    assert wanted().revision == wanted().revision
    assert wanted().revision == wanted(replicas={"min": 3, "max": 9}).revision, "how many is no reason for new pods"
    assert wanted().revision != wanted(memory="4Gi").revision


def test_names_are_short_and_their_own() -> None:
    long = ["a" * 60 + end for end in "bc"]
    names = [wanted(endpoint).name for endpoint in long]
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 54
    assert wanted("flights").name == "serve-flights"


def test_a_connection_without_a_secret_is_refused() -> None:
    with pytest.raises(StepError, match=r"TW592.*s3_lake"):
        list(KINDS["deployment"](wanted(settings=PodSettings())))


@pytest.mark.parametrize(
    "replicas", [{"min": 0, "max": 2}, {"min": 3, "max": 2}], ids=["to nothing without KServe", "the wrong way round"]
)
def test_what_cannot_be_is_refused(replicas: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="min"):
        OwnServer(image=IMAGE, replicas=replicas)  # type: ignore[arg-type]
