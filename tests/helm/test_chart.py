"""The chart, linted and rendered as several kinds of user would, and judged as a cluster would."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from http.server import HTTPServer, SimpleHTTPRequestHandler
from threading import Timer

import helm_python
import kubernetes_validate
import pytest
import yaml
from tests.helm.chart import (
    CHART,
    KUBERNETES,
    NAMESPACE,
    ROOT,
    USERS,
    containers,
    of_kind,
    pods,
    rendered,
    texts,
    usual,
    values,
)
from tests.restricted import assert_restricted

from tradewind.dev import ports
from tradewind.profile import Profile
from tradewind_runtime.launchers.pod import USER
from tradewind_runtime.serving.__main__ import FIRST_LOOK

INFO = 1
BUNDLES = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
#: Those of operators, whose schemas Kubernetes does not have.
OPERATORS = {"monitoring.coreos.com/v1", "external-secrets.io/v1"}
every_user = pytest.mark.parametrize("user", USERS)


@every_user
def test_it_lints(user):
    found = helm_python.lint(CHART, values(user), namespace=NAMESPACE)
    warnings = [message["error"] for message in found["messages"] if message["severity"] > INFO]
    assert found["errors"] == []
    assert warnings == ["chart directory is missing these dependencies: airflow"]  # `helm dependency build` brings it


def test_its_own_test_waits_until_it_is_let_through():
    """A network plugin may know a new pod only seconds after its start; and what never answers is a failure."""
    (container,) = pods(usual("small"))[f"{NAMESPACE}/ml-answers"]["spec"]["containers"]
    *python, script = container["command"]
    assert python == ["python", "-c"]
    port = ports.choose({"late": None})["late"]
    command = [sys.executable, "-c", script.replace("+ 30", "+ 5"), f"http://127.0.0.1:{port}/"]
    late = Timer(1.5, lambda: served.append(HTTPServer(("127.0.0.1", port), SimpleHTTPRequestHandler)))
    served: list[HTTPServer] = []
    late.start()
    asked = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    late.join()
    served[0].handle_request()
    assert asked.communicate(timeout=20)[0] == f"http://127.0.0.1:{port}/ 200\n"
    served[0].server_close()
    done = subprocess.run([*command[:2], script.replace("+ 30", "+ 0"), command[3]], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"Connection refused" in done.stderr


def test_the_official_chart_is_pinned():
    (airflow,) = yaml.safe_load((CHART / "Chart.yaml").read_text())["dependencies"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", airflow["version"])


@every_user
def test_what_it_renders_is_valid(user):
    documents = [document for document in usual(user) if document["apiVersion"] not in OPERATORS]
    assert len(documents) > 8
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


@every_user
def test_nothing_is_there_twice(user):
    """Nor without a namespace that is not the release's own."""
    found = Counter((d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in usual(user))
    assert {one for one, times in found.items() if times > 1} == set()


@every_user
def test_it_renders_the_same_again(user):
    """So that an upgrade which changes nothing restarts nothing."""
    assert texts(user) == texts(user)


@every_user
def test_each_pod_is_restricted(user):
    found = pods(usual(user))
    assert len(found) >= 4
    for pod in found.values():
        assert_restricted(pod["spec"])
        assert pod["spec"]["automountServiceAccountToken"] is False
        for container in containers(pod):
            assert {"cpu", "memory"} <= set(container["resources"]["limits"]), container["name"]


@every_user
def test_openshift_assigns_the_ids(user):
    ids = {"runAsUser", "runAsGroup", "fsGroup"}
    for pod in pods(usual(user)).values():
        assert (set(pod["spec"]["securityContext"]) & ids) == (set() if user == "openshift" else ids)
    assert profiles(user)["cluster.yaml"].kubernetes.user == (None if user == "openshift" else USER)


@every_user
def test_no_secret_is_made_nor_written_down(user):
    documents = usual(user)
    assert not [d for d in documents if d["kind"] == "Secret"]
    for pod in pods(documents).values():
        for item in [item for container in containers(pod) for item in container.get("env", [])]:
            secret = re.search(r"CONN|TOKEN|PASSWORD|SECRET", item["name"])
            assert not (secret and "value" in item), item
            assert "@" not in item.get("value", "")


@every_user
def test_names_are_those_that_are_there(user):
    """Selectors find their pods, and pods their service accounts and volumes."""
    documents = usual(user)
    found = pods(documents)
    for service in of_kind(documents, "Service").values():
        selector = service["spec"]["selector"].items()
        (pod,) = [pod for pod in found.values() if selector <= pod["metadata"]["labels"].items()]
        ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for where, pod in found.items():
        namespace = where.partition("/")[0]
        account = pod["spec"].get("serviceAccountName")
        assert account is None or account in of_kind(documents, "ServiceAccount", namespace), where
        volumes = pod["spec"].get("volumes", [])
        claims = {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v}
        assert claims <= set(of_kind(documents, "PersistentVolumeClaim")), where
        for container in containers(pod):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= {v["name"] for v in volumes}
    for ingress in of_kind(documents, "Ingress").values():
        (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
        service = of_kind(documents, "Service")[path["backend"]["service"]["name"]]
        assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
        assert ingress["spec"]["tls"][0]["hosts"] == [ingress["spec"]["rules"][0]["host"]]


def profiles(user: str) -> dict[str, Profile]:
    texts = of_kind(usual(user), "ConfigMap")["ml-profile"]["data"]
    return {name: Profile.model_validate(yaml.safe_load(text)) for name, text in texts.items()}


@every_user
def test_the_profile_is_one_that_tradewind_reads(user):
    profile = profiles(user)["cluster.yaml"]
    assert profile.profile == "cluster"
    assert profile.kubernetes.namespace == NAMESPACE
    assert profile.runner_of("train") == "kubernetes"
    assert profile.runner_of("pin") == "process"


def test_a_team_has_its_own_profile():
    found = profiles("team")
    assert set(found) == {"cluster.yaml", "fraud.yaml", "marketing.yaml"}
    fraud, marketing = found["fraud.yaml"], found["marketing.yaml"]
    assert (fraud.profile, fraud.kubernetes.namespace) == ("fraud", "ml-fraud")
    assert fraud.kubernetes.resources["train"].gpu.count == 1
    assert fraud.kubernetes.node_selector == {"pool": "ml"}  # of all teams
    assert set(marketing.kubernetes.secrets) == {"s3_lake", "s3_default", "mlflow_default"}
    assert "train" not in found["cluster.yaml"].kubernetes.resources
    assert "kafka_default" in fraud.kubernetes.secrets


def test_the_charts_profile_runs_the_same_steps_as_the_repositorys():
    ours = yaml.safe_load((ROOT / "profiles" / "cluster.yaml").read_text())
    assert profiles("small")["cluster.yaml"].runners == ours["runners"]


@pytest.mark.parametrize(
    ("namespace", "names"),
    [(NAMESPACE, {"flight-delays"}), ("ml-fraud", {"card-fraud", "claims"}), ("ml-marketing", {"churn"})],
)
def test_each_pipeline_has_the_account_that_its_pods_ask_for(namespace, names):
    accounts = of_kind(usual("team"), "ServiceAccount", namespace)
    asked = Profile(profile="cluster").kubernetes.service_account
    assert {asked.replace("{pipeline}", name) for name in names} <= set(accounts)
    assert not any(account["automountServiceAccountToken"] for account in accounts.values())


@every_user
def test_airflow_may_handle_pods_and_nothing_else(user):
    roles = [document for document in usual(user) if document["kind"] in {"Role", "ClusterRole"}]
    assert {role["kind"] for role in roles} == {"Role"}
    for role in roles:
        granted = {
            (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
        }
        assert not any("*" in pair for pair in granted)
        assert {resource for resource, _ in granted} == {"pods", "pods/log", "events", "persistentvolumeclaims"}
        assert {verb for resource, verb in granted if resource == "pods"} == {
            "get", "list", "watch", "create", "patch", "delete"
        }  # fmt: skip
        (binding,) = of_kind(usual(user), "RoleBinding", role["metadata"].get("namespace", NAMESPACE)).values()
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert binding["subjects"]


def test_a_pipelines_spark_may_handle_pods_where_that_is_asked_for():
    pipelines = [{"name": "flights", "executors": True}, {"name": "churn"}]
    teams = [{"name": "fraud", "namespace": "ml-fraud", "pipelines": [{"name": "claims", "executors": True}]}]
    documents = rendered("small", {"pipelines": pipelines, "teams": teams})
    for namespace, account in ((NAMESPACE, "tradewind-flights"), ("ml-fraud", "tradewind-claims")):
        role = of_kind(documents, "Role", namespace)["ml-executors"]
        (rule,) = role["rules"]
        assert rule["resources"] == ["pods"]
        assert set(rule["verbs"]) == {"get", "list", "watch", "create", "delete", "deletecollection"}
        binding = of_kind(documents, "RoleBinding", namespace)["ml-executors"]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]


def test_only_pipelines_that_ask_for_companions_may_start_them():
    teams = [{"name": "fraud", "namespace": "ml-fraud", "pipelines": [{"name": "claims", "companions": True}]}]
    documents = rendered("small", {"pipelines": [{"name": "a", "companions": True}, {"name": "b"}], "teams": teams})
    for namespace, account in ((NAMESPACE, "tradewind-a"), ("ml-fraud", "tradewind-claims")):
        role = of_kind(documents, "Role", namespace)["ml-companions"]
        assert {one: tuple(rule["verbs"]) for rule in role["rules"] for one in rule["resources"]} == {
            "jobs": ("get", "list", "watch", "create", "delete"), "pods": ("get", "list"),
        }  # fmt: skip
        binding = of_kind(documents, "RoleBinding", namespace)["ml-companions"]
        assert binding["roleRef"]["name"] == "ml-companions"
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]
    assert "ml-companions" not in of_kind(usual("small"), "Role")


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("", set()),
        ("deployment", {"deployments", "services", "horizontalpodautoscalers", "poddisruptionbudgets"}),
        ("kserve", {"inferenceservices"}),
    ],
)
def test_airflow_may_make_servers_where_that_is_asked_for(kind, more):
    usually = {"pods", "pods/log", "events", "persistentvolumeclaims"}
    documents = rendered("team", {"launcherServers": kind})
    for role in (d for d in documents if d["kind"] == "Role" and d["metadata"]["name"] == "ml-launcher"):
        found = {one: rule["verbs"] for rule in role["rules"] for one in rule["resources"]}
        assert set(found) - usually == more
        assert all(found[one] == ["get", "create", "patch"] for one in more)


def test_airflow_may_look_at_nodes_where_that_is_asked_for():
    documents = rendered("small", {"launcherNodes": True})
    (role,) = [one for one in documents if one["kind"] == "ClusterRole"]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    (binding,) = [one for one in documents if one["kind"] == "ClusterRoleBinding"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (ours,) = of_kind(documents, "RoleBinding").values()
    assert binding["subjects"] == ours["subjects"] != []


def test_a_team_gets_rights_quota_and_limits_in_its_namespace():
    documents = usual("team")
    namespaces = [d for d in documents if d["kind"] == "Namespace"]
    assert [one["metadata"]["name"] for one in namespaces] == ["ml-fraud"]  # the other team's is there already
    labels = namespaces[0]["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}
    assert namespaces[0]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    (quota,) = of_kind(documents, "ResourceQuota", "ml-fraud").values()
    assert quota["spec"]["hard"]["requests.nvidia.com/gpu"] == "2"
    (limits,) = of_kind(documents, "LimitRange", "ml-fraud").values()
    assert limits["spec"]["limits"] == [{"type": "Container", "max": {"cpu": "8", "memory": "32Gi"}}]
    assert not of_kind(documents, "ResourceQuota", "ml-marketing")
    (binding,) = of_kind(documents, "RoleBinding", "ml-marketing").values()
    assert {subject["namespace"] for subject in binding["subjects"]} == {NAMESPACE}


def test_a_team_gets_disruption_budgets_and_scaling():
    documents = usual("team")
    assert of_kind(documents, "PodDisruptionBudget")
    (scaler,) = of_kind(documents, "HorizontalPodAutoscaler").values()
    deployment = of_kind(documents, "Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]
    assert "replicas" not in deployment["spec"]


def test_a_hardened_server_knows_its_callers_and_its_images():
    deployment = of_kind(usual("hardened"), "Deployment")["ml-serving"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "@sha256:" in container["image"]
    assert not any(argument.startswith("--lake-connection") for argument in container["args"])
    (token,) = [item for item in container["env"] if item["name"] == "TRADEWIND_SERVING_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"] == {"name": "tradewind-serving", "key": "token"}


def test_the_server_understands_its_arguments():
    """The options that the chart gives are options of the model server."""
    text = (ROOT / "include" / "tradewind_runtime" / "serving" / "__main__.py").read_text()
    known = set(re.findall(r'add_argument\("(--[a-z-]+)"', text))
    (container,) = of_kind(usual("small"), "Deployment")["ml-serving"]["spec"]["template"]["spec"]["containers"]
    assert {argument.partition("=")[0] for argument in container["args"]} <= known


def test_the_server_may_take_its_time_to_load_its_models():
    """Until then it answers nothing, so nobody is told that a model is not ready yet; and nobody ends it for that."""
    (container,) = of_kind(usual("small"), "Deployment")["ml-serving"]["spec"]["template"]["spec"]["containers"]
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= FIRST_LOOK + 30  # of which it is imported


def test_secrets_come_from_vault():
    """Every Secret that is named is brought, key by key, and a namespace's come from a place of its own."""
    documents = rendered("hardened", {"teams": [{"name": "a", "namespace": "ml-a", "pipelines": [{"name": "p"}]}]})
    brought = {
        f"{secret['metadata']['name']}/{item['secretKey']}"
        for secret in of_kind(documents, "ExternalSecret").values()
        for item in secret["spec"]["data"]
    }
    assert brought >= asked_for(documents)
    for namespace in (NAMESPACE, "ml-a"):
        (store,) = of_kind(documents, "SecretStore", namespace).values()
        account = store["spec"]["provider"]["vault"]["auth"]["kubernetes"]["serviceAccountRef"]["name"]
        assert account in of_kind(documents, "ServiceAccount", namespace)
        secrets = of_kind(documents, "ExternalSecret", namespace)
        assert {secret["spec"]["secretStoreRef"]["name"] for secret in secrets.values()} == {store["metadata"]["name"]}
        for name, secret in secrets.items():
            keys = {item["remoteRef"]["key"] for item in secret["spec"]["data"]}
            assert keys == {f"tradewind/{namespace}/{name}"}
    assert set(of_kind(documents, "ExternalSecret", "ml-a")) == {"tradewind-kafka", "tradewind-mlflow"}


def asked_for(documents) -> set[str]:
    found = [
        item for pod in pods(documents).values() for container in containers(pod) for item in container.get("env", [])
    ]
    references = [item["valueFrom"]["secretKeyRef"] for item in found if "secretKeyRef" in item.get("valueFrom", {})]
    return {f"{one['name']}/{one['key']}" for one in references}


def test_a_store_that_is_there_is_used():
    documents = rendered("hardened", {"externalSecrets": {"store": {"name": "company"}, "vault": {"server": ""}}})
    assert not of_kind(documents, "SecretStore")
    (store,) = {json.dumps(d["spec"]["secretStoreRef"]) for d in of_kind(documents, "ExternalSecret").values()}
    assert json.loads(store) == {"name": "company", "kind": "ClusterSecretStore"}


@pytest.mark.parametrize("user", ["small", "team"])
def test_helm_test_asks_what_is_there(user):
    """Servers by their own names, and the lake from each namespace, as a step of a pipeline there."""
    documents = usual(user)
    found = {where: pod for where, pod in pods(documents).items() if pod.get("kind") == "Pod"}
    assert all(pod["metadata"]["annotations"]["helm.sh/hook"] == "test" for pod in found.values())
    asked = {
        re.sub(r"http://([a-z-]+).*", r"\1", url)
        for url in found["tradewind/ml-answers"]["spec"]["containers"][0]["args"]
    }
    assert asked == {"ml-serving", "ml-mlflow"}
    lakes = {where.partition("/")[0] for where in found if where.endswith("/ml-lake")}
    assert lakes == {d["metadata"].get("namespace", NAMESPACE) for d in documents if d["kind"] == "Role"}
    for pod in found.values():
        compile(pod["spec"]["containers"][0]["command"][-1], "test", "exec")


def test_the_lakes_test_reads_a_lake(tmp_path):
    (container,) = pods(usual("small"))["tradewind/ml-lake"]["spec"]["containers"]
    (tmp_path / "endpoints" / "flight-delays").mkdir(parents=True)
    (tmp_path / "endpoints" / "flight-delays" / "x").write_text("")
    code = container["command"][-1]
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path.as_uri()],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.endswith("has endpoints: flight-delays\n")


def test_the_official_charts_values_point_at_what_is_there():
    """Its service accounts and labels are the release's own; the profile is mounted where the bundle looks."""
    ours = yaml.safe_load((CHART / "values.yaml").read_text())
    airflow = ours["airflow"]
    (mount,), (volume,) = airflow["volumeMounts"], airflow["volumes"]
    assert mount["name"] == volume["name"]
    bundles = json.loads({item["name"]: item["value"] for item in airflow["env"]}[BUNDLES])
    assert mount["mountPath"] == f"{bundles[0]['kwargs']['path']}/profiles"
    module, _, name = bundles[0]["classpath"].rpartition(".")
    assert hasattr(importlib.import_module(module), name)
    given = {
        item["envName"].removeprefix("AIRFLOW_CONN_").lower(): f"{item['secretName']}/{item['secretKey']}"
        for item in airflow["secret"]
    }
    assert given == ours["connections"]


@pytest.mark.skipif("AIRFLOW_CHART" not in os.environ, reason="AIRFLOW_CHART names no copy of the official chart")
def test_the_official_chart_takes_what_we_give_it(tmp_path):
    """Its accounts are those that may start pods, and its pods are restricted but for their writable root."""
    shutil.copytree(CHART, tmp_path / "tradewind")
    shutil.copytree(os.environ["AIRFLOW_CHART"], tmp_path / "tradewind" / "charts" / "airflow")
    with helm_python.Chart.load(tmp_path / "tradewind") as chart:
        texts = chart.render({}, name="ml", namespace=NAMESPACE)
    documents = [one for name, text in texts.items() if name.endswith("l") for one in yaml.safe_load_all(text) if one]
    (binding,) = [d for d in documents if d["kind"] == "RoleBinding" and d["metadata"]["name"] == "ml-launcher"]
    accounts = set(of_kind(documents, "ServiceAccount"))
    assert {"ml-scheduler", "ml-triggerer"} <= accounts & {subject["name"] for subject in binding["subjects"]}
    theirs = [pod for pod in pods(documents).values() if pod["metadata"]["labels"].get("tier") == "airflow"]
    assert len(theirs) >= 4
    for pod in theirs:
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
