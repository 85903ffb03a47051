"""Network policies, read as a network plugin would: who may ask whom."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from tests.helm.chart import NAMESPACE, Document, pods, rendered, usual

STEP = {"app.kubernetes.io/managed-by": "tradewind", "app.kubernetes.io/component": "step"}
EXECUTOR = STEP | {"app.kubernetes.io/component": "executor"}
AIRFLOW = {"tier": "airflow", "component": "scheduler", "release": "ml"}


@dataclass(frozen=True)
class End:
    """A pod, or an address outside."""

    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    address: str = ""

    @classmethod
    def pod(cls, labels: dict[str, str], namespace: str = NAMESPACE) -> End:
        return cls(namespace, tuple(labels.items()))


def selected(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()


def is_peer(peer: dict[str, Any], end: End, home: str) -> bool:
    if "ipBlock" in peer:
        return bool(end.address) and ip_address(end.address) in ip_network(peer["ipBlock"]["cidr"])
    if end.address:
        return False
    where = {"kubernetes.io/metadata.name": end.namespace}
    there = selected(peer["namespaceSelector"], where) if "namespaceSelector" in peer else end.namespace == home
    return there and selected(peer.get("podSelector", {}), dict(end.labels))


def one_way(policies: list[Document], end: End, other: End, port: int, way: str) -> bool:
    """Whether an end's own policies let it speak to the other, or hear it."""
    if end.address:
        return True
    mine = [
        p for p in policies
        if p["metadata"].get("namespace", NAMESPACE) == end.namespace
        and selected(p["spec"]["podSelector"], dict(end.labels))
        and way in p["spec"]["policyTypes"]
    ]  # fmt: skip
    if not mine:
        return True
    key, whom = ("egress", "to") if way == "Egress" else ("ingress", "from")
    return any(
        ("ports" not in rule or any(one["port"] <= port <= one.get("endPort", one["port"]) for one in rule["ports"]))
        and (whom not in rule or any(is_peer(peer, other, end.namespace) for peer in rule[whom]))
        for p in mine
        for rule in p["spec"].get(key, [])
    )


def may(documents: Any, source: End, target: End, port: int) -> bool:
    policies = [d for d in documents if d["kind"] == "NetworkPolicy"]
    return one_way(policies, source, target, port, "Egress") and one_way(policies, target, source, port, "Ingress")


def ours(documents: Any, name: str) -> End:
    return End.pod(pods(documents)[f"{NAMESPACE}/{name}"]["metadata"]["labels"])


STRANGER = End.pod({"app": "stranger"})
DNS = End.pod({"k8s-app": "kube-dns"}, "kube-system")


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        (End.pod(STEP), True),
        (End.pod(STEP, "ml-fraud"), True),
        (End.pod(STEP, "ml-marketing"), True),
        (End.pod(AIRFLOW), True),
        (STRANGER, False),
        (End.pod(STEP, "elsewhere"), False),
        (End.pod({"app": "stranger"}, "ml-fraud"), False),
    ],
)
def test_steps_and_airflow_reach_the_servers(source, allowed):
    documents = rendered("team", {"airflow": {"enabled": True}})
    assert may(documents, source, ours(documents, "ml-serving"), 8085) is allowed
    assert may(documents, source, ours(documents, "ml-mlflow"), 5000) is allowed


def test_the_charts_own_test_reaches_the_servers():
    documents = usual("team")
    assert may(documents, ours(documents, "ml-answers"), ours(documents, "ml-serving"), 8085)
    assert may(documents, ours(documents, "ml-answers"), ours(documents, "ml-mlflow"), 5000)
    assert not may(documents, ours(documents, "ml-answers"), End(address="10.1.2.3"), 443)


def test_only_mlflow_reaches_its_database():
    documents = usual("team")
    database = ours(documents, "ml-mlflow-postgresql")
    assert may(documents, ours(documents, "ml-mlflow"), database, 5432)
    for other in (ours(documents, "ml-serving"), End.pod(STEP), End.pod(AIRFLOW), STRANGER):
        assert not may(documents, other, database, 5432)
    assert not may(documents, database, End(address="10.1.2.3"), 443)
    assert not may(documents, ours(documents, "ml-mlflow"), End(address="10.1.2.3"), 443)


def test_steps_leave_only_to_what_is_listed():
    documents = usual("team")
    step, fraud = End.pod(STEP), End.pod(STEP, "ml-fraud")
    assert may(documents, step, End(address="10.1.2.3"), 9092)
    assert may(documents, fraud, End(address="10.30.0.9"), 9092)
    assert may(documents, step, DNS, 53)
    assert not may(documents, step, End(address="10.1.2.3"), 22)
    assert not may(documents, step, End(address="93.184.216.34"), 443)
    assert not may(documents, step, End.pod(STEP), 4040)
    assert not may(documents, End.pod({"app": "stranger"}, "ml-fraud"), End(address="10.1.2.3"), 9092)


def of(labels: dict[str, str], pipeline: str, namespace: str = NAMESPACE) -> End:
    return End.pod(labels | {"tradewind.dev/pipeline": pipeline}, namespace)


def test_a_server_of_an_endpoints_own_is_asked_by_steps_and_airflow_and_asks_the_lake():
    documents = rendered("team", {"launcherServers": "deployment", "networkPolicy": {"wholeNamespace": True}})
    server = End.pod({"app.kubernetes.io/managed-by": "tradewind", "app.kubernetes.io/component": "server"}, NAMESPACE)
    assert may(documents, End.pod(STEP), server, 8085)
    assert not may(documents, STRANGER, server, 8085)
    assert may(documents, server, End(address="10.1.2.3"), 443)
    assert not may(documents, server, End(address="10.96.0.1"), 6443)


@pytest.mark.parametrize("whole", [True, False])
def test_sparks_driver_and_its_executors_reach_each_other_and_no_other_pipelines(whole):
    pipelines = [{"name": "flights", "executors": True}, {"name": "trips", "executors": True}, {"name": "churn"}]
    documents = rendered("team", {"pipelines": pipelines, "networkPolicy": {"wholeNamespace": whole}})
    driver, executor, other = of(STEP, "flights"), of(EXECUTOR, "flights"), of(EXECUTOR, "trips")
    api = End(address="10.96.0.1")
    assert may(documents, executor, driver, 7078)
    assert may(documents, executor, driver, 7079)
    assert may(documents, driver, executor, 7079)
    assert may(documents, executor, executor, 7079)
    assert may(documents, executor, End(address="10.1.2.3"), 443)  # the lake
    assert may(documents, driver, api, 6443)
    assert not may(documents, executor, api, 6443)
    assert not may(documents, of(STEP, "churn"), api, 6443)
    for wrong in (other, of(EXECUTOR, "churn"), of(STEP, "trips"), of(EXECUTOR, "flights", "ml-fraud"), STRANGER):
        assert not may(documents, wrong, driver, 7078)
        assert not may(documents, wrong, executor, 7079)
    assert not may(documents, executor, ours(documents, "ml-mlflow"), 5000)
    assert not may(documents, of(EXECUTOR, "churn"), End(address="10.1.2.3"), 443)


def test_a_step_and_its_companions_reach_each_other_and_kubernetes_and_nobody_elses():
    asked = [{"name": "flights", "companions": True}, {"name": "churn"}]
    documents = rendered("small", {"networkPolicy": {"enabled": True}, "pipelines": asked})
    one, other = ({**STEP, "tradewind.dev/pipeline": name} for name in ("flights", "churn"))
    companion = End.pod(one | {"tradewind.dev/companion": "true"})
    for port in (1024, 43210):
        assert may(documents, End.pod(one), companion, port)
        assert may(documents, companion, End.pod(one), port)
    assert not may(documents, End.pod(one), companion, 22)
    assert not may(documents, End.pod(other), companion, 43210)
    assert not may(documents, STRANGER, companion, 43210)
    assert may(documents, End.pod(one), End(address="172.16.0.1"), 443)
    assert not may(documents, End.pod(other), End(address="172.16.0.1"), 443)


def test_a_teams_own_way_out_is_not_its_neighbours():
    documents = rendered("team", {"networkPolicy": {"egress": []}})
    assert may(documents, End.pod(STEP, "ml-fraud"), End(address="10.30.0.9"), 9092)
    assert not may(documents, End.pod(STEP, "ml-marketing"), End(address="10.30.0.9"), 9092)


def test_whoever_is_listed_gets_in():
    documents = usual("hardened")
    serving, mlflow = ours(documents, "ml-serving"), ours(documents, "ml-mlflow")
    booking = End.pod({"app": "site"}, "booking")
    controller, prometheus = End.pod({"app": "nginx"}, "ingress-nginx"), End.pod({"app": "prometheus"}, "monitoring")
    assert may(documents, booking, serving, 8085)
    assert may(documents, controller, serving, 8085)
    assert may(documents, controller, mlflow, 5000)
    assert may(documents, prometheus, serving, 8085)
    assert not may(documents, booking, mlflow, 5000)
    assert not may(documents, prometheus, mlflow, 5000)
    assert may(documents, mlflow, End(address="10.20.1.1"), 5432)


def test_nobody_gets_in_by_default():
    documents = rendered("small", {"networkPolicy": {"enabled": True}})
    serving = ours(documents, "ml-serving")
    for name in ("ingress-nginx", "monitoring", "booking"):
        assert not may(documents, End.pod({"app": "any"}, name), serving, 8085)
    assert may(documents, End.pod(AIRFLOW, "airflow"), serving, 8085)  # a launcher's namespace
    assert may(documents, End.pod(AIRFLOW, "airflow"), ours(documents, "ml-mlflow"), 5000)


def test_strangers_are_denied_unless_they_are_left_alone():
    more = {"networkPolicy": {"enabled": True, "wholeNamespace": False}}
    denied, left = rendered("small", {"networkPolicy": {"enabled": True}}), rendered("small", more)
    outside = End(address="93.184.216.34")
    assert not may(denied, STRANGER, outside, 443)
    assert may(left, STRANGER, outside, 443)
    for documents in (denied, left):
        assert not may(documents, End.pod(STEP), outside, 443)
        assert not may(documents, ours(documents, "ml-mlflow"), outside, 443)
        assert not may(documents, STRANGER, ours(documents, "ml-mlflow"), 5000)


def test_airflow_of_the_release_works():
    documents = rendered("team", {"airflow": {"enabled": True}})
    airflow = End.pod(AIRFLOW)
    assert may(documents, airflow, End.pod(AIRFLOW | {"component": "api-server"}), 8080)
    assert may(documents, airflow, End(address="172.16.0.1"), 443)  # Kubernetes
    assert may(documents, airflow, End(address="10.1.2.3"), 9092)
    assert not may(documents, airflow, End(address="93.184.216.34"), 22)
    assert not may(documents, STRANGER, airflow, 8080)


def test_openshifts_names_are_elsewhere():
    documents = usual("openshift")
    assert may(documents, End.pod(STEP), End.pod({"dns": "default"}, "openshift-dns"), 5353)
    assert not may(documents, End.pod(STEP), DNS, 53)


def test_names_are_answered_by_whoever_is_listed():
    """A node's own DNS server is no pod of kube-system."""
    cache = {"ipBlock": {"cidr": "169.254.20.10/32"}}
    documents = rendered("team", {"networkPolicy": {"dns": [cache]}})
    for end in (End.pod(STEP, "ml-fraud"), ours(documents, "ml-mlflow"), STRANGER):
        assert may(documents, end, End(address="169.254.20.10"), 53)
        assert not may(documents, end, End(address="169.254.20.10"), 443)
        assert not may(documents, end, DNS, 53)
