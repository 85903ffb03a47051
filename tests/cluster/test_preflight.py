"""What a real cluster says, before there is a run, of pods that it would not have or could not start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes import config
from kubernetes.client import ApiClient
from tests.servers.kubernetes import parts
from tests.servers.kubernetes.cluster import Cluster

from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind.pods.preflight import Preflight
from tradewind.pods.probes import Probe, probes
from tradewind.pods.trial import trials
from tradewind_runtime.contract.errors import Problem
from tradewind_runtime.launchers.pod import PodSettings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

NAMESPACE = "preflight"
STEP = PlanStep(id="train", kind="train", runner="kubernetes", connections={"registry": "mlflow_default"})


def rule(resource: str, *verbs: str) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": [resource], "verbs": list(verbs)}


#: As in the chart.
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
    "metadata": {"name": "launcher", "namespace": NAMESPACE},
    "rules": [
        rule("pods", "get", "list", "watch", "create", "patch", "delete"), rule("pods/log", "get"),
        rule("events", "list", "watch"), rule("persistentvolumeclaims", "get"),
    ],
}  # fmt: skip


def named(kind: str, name: str, **body: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **body}


@pytest.fixture(scope="module")
def there(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace under the restricted standard, with a launcher's account."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "launcher", "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "launcher"},
        "subjects": [{"kind": "ServiceAccount", "name": "airflow", "namespace": NAMESPACE}],
    }  # fmt: skip
    with cluster.lent(NAMESPACE):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": label}})
        cluster.apply(named("ServiceAccount", "airflow"), named("ServiceAccount", "tradewind-p"), ROLE, binding)
        cluster.apply(named("Secret", "team", stringData={"mlflow": "http://mlflow"}))
        yield cluster


def client(cluster: Cluster, account: str | None = None) -> ApiClient:
    """Of the cluster's admin, or of an account of the namespace."""
    body = yaml.safe_load(cluster.kubeconfig.read_text())
    if account is not None:
        token = cluster.kubectl("create", "token", account, "--namespace", NAMESPACE).strip()
        body["users"] = [{"name": user["name"], "user": {"token": token}} for user in body["users"]]
    return config.new_client_from_config_dict(body)


def probe(image: str = parts.PAUSE, pipeline: str = "p", **resources: Any) -> tuple[Probe, PodSettings]:
    kubernetes = {"namespace": NAMESPACE, "secrets": {"mlflow_default": "team/mlflow"}}
    plan = Plan(
        pipeline=pipeline, profile="cluster", file="p.yaml", lake="s3://lake", pool="x", kubernetes=kubernetes,
        environments={"steps": {"image": image}},
        dags=(PlanDag(dag_id="p", flow="train", steps=(STEP.model_copy(update={"resources": resources}),)),),
    )  # fmt: skip
    (found,), _ = probes(plan)
    return found, PodSettings.model_validate(kubernetes)


def asked(by: ApiClient, **what: Any) -> list[Problem]:
    found, settings = probe(**what)
    checks = Preflight(by, settings, [found], "profiles/cluster.yaml").checks()
    return [problem for check in checks for problem in check.problems]


def shown(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(problem.code, problem.message) for problem in problems if problem.severity == "error"]


def test_a_launcher_with_the_charts_rights_learns_that_all_is_well(there: Cluster) -> None:
    began = time.monotonic()
    problems = asked(client(there, "airflow"))
    assert time.monotonic() - began < 3  # most of it kubectl's
    assert [(one.severity, one.message) for one in problems] == [
        ("warning", "Secrets cannot be looked at: no right to"),
        ("warning", "nodes cannot be looked at: no right to"),
    ]
    assert there.get("pods", "--namespace", NAMESPACE)["items"] == []


def test_an_account_without_rights(there: Cluster) -> None:
    (problem,) = [one for one in asked(client(there, "tradewind-p")) if one.severity == "error"]
    assert problem.code == "TW576"
    assert "system:serviceaccount:preflight:tradewind-p may not do" in problem.message
    assert "create pods" in str(problem.got)


def test_a_service_account_that_is_missing(there: Cluster) -> None:
    found = shown(asked(client(there, "airflow"), pipeline="other"))
    assert found == [("TW577", "the namespace 'preflight' has no service account 'tradewind-other'")]


def test_a_secret_and_a_key_that_are_missing(there: Cluster) -> None:
    there.kubectl("delete", "secret", "team", "--namespace", NAMESPACE)
    there.apply(named("Secret", "team", stringData={"other": "x"}))
    assert shown(asked(client(there))) == [("TW577", "the Secret 'team' has no key 'mlflow'")]
    there.kubectl("delete", "secret", "team", "--namespace", NAMESPACE)
    assert shown(asked(client(there))) == [("TW577", "the namespace 'preflight' has no Secret 'team'")]
    there.apply(named("Secret", "team", stringData={"mlflow": "http://mlflow"}))


def test_a_node_that_there_will_never_be(there: Cluster) -> None:
    ((code, message),) = shown(asked(client(there), cpu=900))
    assert code == "TW578"
    assert message.startswith("no node could have p.train: has cpu ")


def test_a_quota_that_is_too_small_and_one_that_is_used_up(there: Cluster) -> None:
    there.apply(named("ResourceQuota", "team", spec={"hard": {"limits.memory": "3Gi"}}))
    holder, settings = probe(memory="2Gi")
    try:
        there.until(lambda: _counted(there, "team"), "the quota is counted")
        assert shown(asked(client(there, "airflow"), memory="4Gi")) == [
            ("TW578", "p.train asks for more than the quota 'team' ever gives")
        ]
        there.apply(holder.pod)
        (problem,) = [one for one in asked(client(there, "airflow"), memory="2Gi") if one.code == "TW578"]
        assert (problem.severity, problem.message) == (
            "warning", "p.train must wait for others to end: the quota 'team' is used up",
        )  # fmt: skip
    finally:
        there.kubectl("delete", "pods", "--all", "--now", "--namespace", settings.namespace)
        there.kubectl("delete", "resourcequota", "team", "--namespace", NAMESPACE)


def _counted(cluster: Cluster, quota: str) -> bool:
    found = cluster.get("resourcequota", quota, "--namespace", NAMESPACE)
    return "used" in found.get("status", {})


def started(cluster: Cluster, image: str) -> list[Problem]:
    found, _ = probe(image)
    return list(trials(client(cluster, "airflow"), [found], seconds=60))


def test_an_image_that_is_not_there_is_found_by_a_pod(there: Cluster) -> None:
    (problem,) = started(there, f"{parts.REGISTRY}/tradewind/nothing:1")
    assert problem.code == "TW595"
    assert problem.path == "environments.steps.image"
    assert there.get("pods", "--namespace", NAMESPACE)["items"] == []


def test_a_missing_secret_is_found_by_a_pod_without_the_right_to_read_any(there: Cluster) -> None:
    there.kubectl("delete", "secret", "team", "--namespace", NAMESPACE)
    try:
        found = started(there, parts.PAUSE)
        assert [problem.code for problem in found] == ["TW594"]
        assert 'secret "team" not found' in found[0].message
    finally:
        there.apply(named("Secret", "team", stringData={"mlflow": "http://mlflow"}))
