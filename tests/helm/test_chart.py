"""The chart, linted and rendered as three kinds of user would, and judged as a cluster would."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml
from tests.restricted import assert_restricted

from tradewind.profile import Profile

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "tradewind"
KUBERNETES = "1.34"
INFO = 1
BUNDLES = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
USERS = ["small", "team", "hardened"]


def values(user: str) -> dict[str, Any]:
    return yaml.safe_load((CHART / "ci" / f"{user}-values.yaml").read_text())


def rendered(user: str, more: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    with helm_python.Chart.load(CHART) as chart:
        texts = chart.render(values(user) | (more or {}), name="ml", namespace="tradewind")
    found = [
        document for name, text in texts.items() if name.endswith(".yaml") for document in yaml.safe_load_all(text)
    ]
    return [document for document in found if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}


def pod_specs(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    deployments = [document["spec"]["template"]["spec"] for document in of_kind(documents, "Deployment").values()]
    return deployments + [document["spec"] for document in of_kind(documents, "Pod").values()]


@pytest.mark.parametrize("user", USERS)
def test_it_lints(user):
    found = helm_python.lint(CHART, values(user), namespace="tradewind")
    warnings = [message["error"] for message in found["messages"] if message["severity"] > INFO]
    assert found["errors"] == []
    assert warnings == ["chart directory is missing these dependencies: airflow"]  # `helm dependency build` brings it


@pytest.mark.parametrize("user", USERS)
def test_what_it_renders_is_valid(user):
    documents = rendered(user)
    assert len(documents) > 8
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("user", USERS)
def test_each_workload_is_restricted(user):
    specs = pod_specs(rendered(user))
    assert len(specs) == 3
    for spec in specs:
        assert_restricted(spec)


@pytest.mark.parametrize("user", USERS)
def test_no_secret_is_made_nor_written_down(user):
    documents = rendered(user)
    assert not of_kind(documents, "Secret")
    for spec in pod_specs(documents):
        for item in spec["containers"][0].get("env", []):
            secret = re.search(r"CONN|TOKEN|PASSWORD|SECRET", item["name"])
            assert not (secret and "value" in item), item
            assert "@" not in item.get("value", "")


@pytest.mark.parametrize("user", USERS)
def test_names_are_those_that_are_there(user):
    """Selectors find their pods, and pods their service accounts and volumes."""
    documents = rendered(user)
    deployments = of_kind(documents, "Deployment")
    for service in of_kind(documents, "Service").values():
        (found,) = [
            d for d in deployments.values()
            if service["spec"]["selector"].items() <= d["spec"]["template"]["metadata"]["labels"].items()
        ]  # fmt: skip
        ports = {port["name"] for port in found["spec"]["template"]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for name, deployment in deployments.items():
        spec = deployment["spec"]["template"]["spec"]
        assert spec["serviceAccountName"] in of_kind(documents, "ServiceAccount")
        claims = {v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
        assert claims <= set(of_kind(documents, "PersistentVolumeClaim")), name


@pytest.mark.parametrize("user", USERS)
def test_the_profile_is_one_that_tradewind_reads(user):
    (config,) = of_kind(rendered(user), "ConfigMap").values()
    profile = Profile.model_validate(yaml.safe_load(config["data"]["cluster.yaml"]))
    assert profile.kubernetes.namespace == "tradewind"
    assert profile.runner_of("train") == "kubernetes"
    assert profile.runner_of("pin") == "process"


def test_the_charts_profile_runs_the_same_steps_as_the_repositorys():
    (config,) = of_kind(rendered("small"), "ConfigMap").values()
    ours = yaml.safe_load((ROOT / "profiles" / "cluster.yaml").read_text())
    assert yaml.safe_load(config["data"]["cluster.yaml"])["runners"] == ours["runners"]


def test_each_pipeline_has_the_account_that_its_pods_ask_for():
    accounts = of_kind(rendered("team"), "ServiceAccount")
    asked = Profile(profile="cluster").kubernetes.service_account
    assert {asked.replace("{pipeline}", name) for name in ("flight-delays", "fraud", "churn")} <= set(accounts)
    assert not any(account["automountServiceAccountToken"] for account in accounts.values())


@pytest.mark.parametrize("user", USERS)
def test_airflow_may_handle_pods_and_nothing_else(user):
    (role,) = of_kind(rendered(user), "Role").values()
    granted = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert not any("*" in pair for pair in granted)
    assert {resource for resource, _ in granted} == {"pods", "pods/log", "events"}
    assert {verb for resource, verb in granted if resource == "pods"} == {
        "get", "list", "watch", "create", "patch", "delete"
    }  # fmt: skip


def test_a_team_gets_disruption_budgets_scaling_and_policies():
    documents = rendered("team")
    assert of_kind(documents, "PodDisruptionBudget")
    (scaler,) = of_kind(documents, "HorizontalPodAutoscaler").values()
    (deployment,) = [d for name, d in of_kind(documents, "Deployment").items() if name.endswith("serving")]
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]
    assert not of_kind(documents, "PersistentVolumeClaim")


def test_policies_deny_what_is_not_listed():
    policies = of_kind(rendered("hardened"), "NetworkPolicy")
    for name in ("ml-own", "ml-steps"):
        assert policies[name]["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in policies[name]["spec"]
        assert all(rule["to"] and rule["ports"] for rule in policies[name]["spec"]["egress"])
    callers = policies["ml-callers"]["spec"]["ingress"][0]["from"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "booking"}}} in callers


def test_a_hardened_server_knows_its_callers_and_its_images():
    deployment = of_kind(rendered("hardened"), "Deployment")["ml-serving"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "@sha256:" in container["image"]
    assert not any(argument.startswith("--lake-connection") for argument in container["args"])
    (token,) = [item for item in container["env"] if item["name"] == "TRADEWIND_SERVING_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"] == {"name": "tradewind-serving", "key": "token"}


def test_the_server_understands_its_arguments():
    """The options that the chart gives are options of the model server."""
    text = (ROOT / "include" / "tradewind_runtime" / "serving" / "__main__.py").read_text()
    known = set(re.findall(r'add_argument\("(--[a-z-]+)"', text))
    (container,) = of_kind(rendered("small"), "Deployment")["ml-serving"]["spec"]["template"]["spec"]["containers"]
    assert {argument.partition("=")[0] for argument in container["args"]} <= known


@pytest.mark.parametrize(
    "wrong",
    [
        {"servng": {}},
        {"lake": {"uri": "s3://key:secret@host/bucket"}},
        {"connections": {"kafka_default": "not a place"}},
        {"serving": {"replicas": 0}},
        {"images": {"steps": {"repository": "r", "tag": "latest"}, "serving": {"repository": "r"}}},
    ],
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(helm_python.HelmError, match="tradewind:"):
        checked(values("small") | wrong)


def checked(values: dict[str, Any]) -> None:
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(values))


def test_a_lake_connection_without_a_secret_is_refused():
    with pytest.raises(helm_python.HelmError, match="names no Secret"):
        rendered("small", {"lake": {"uri": "s3://b", "connection": "other"}})


def test_the_official_charts_values_point_at_what_is_there():
    """Its service accounts and labels are the release's own; the profile is mounted where the bundle looks."""
    airflow = yaml.safe_load((CHART / "values.yaml").read_text())["airflow"]
    (mount,), (volume,) = airflow["volumeMounts"], airflow["volumes"]
    assert mount["name"] == volume["name"]
    bundles = json.loads({item["name"]: item["value"] for item in airflow["env"]}[BUNDLES])
    assert mount["mountPath"] == f"{bundles[0]['kwargs']['path']}/profiles"
    module, _, name = bundles[0]["classpath"].rpartition(".")
    assert hasattr(importlib.import_module(module), name)
