"""All that the chart renders is what a real API server takes, strictly, with the real kinds of other operators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import yaml
from tests.helm.chart import USERS, rendered
from tests.servers.kubernetes import programs
from tests.servers.kubernetes.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NAMESPACE = "kinds"
STRICTLY = ("--server-side", "--dry-run=server", "--validate=strict")
#: A Go module → the files of it that have kinds which the chart may ask for.
KINDS = {
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "github.com/external-secrets/external-secrets@v1.3.2": (
        "config/crds/bases/external-secrets.io_externalsecrets.yaml",
        "config/crds/bases/external-secrets.io_secretstores.yaml",
    ),
}


@pytest.fixture(scope="module")
def operators(cluster: Cluster) -> Iterator[None]:
    """Their kinds are there; they themselves are not."""
    found = [
        yaml.safe_load((programs.source(module) / file).read_text())
        for module, files in KINDS.items()
        for file in files
    ]
    names = [f"crd/{one['metadata']['name']}" for one in found]
    cluster.apply(*found, options=["--server-side"])
    cluster.kubectl("wait", "--for=condition=established", "--timeout=60s", *names)
    yield
    cluster.kubectl("delete", "--wait=false", *names)


@pytest.mark.usefixtures("operators")
@pytest.mark.parametrize("user", USERS)
def test_each_object_is_taken(cluster: Cluster, user: str) -> None:
    documents = rendered(user, namespace=NAMESPACE)
    places = {one["metadata"]["namespace"] for one in documents if "namespace" in one["metadata"]}
    with ExitStack() as stack:
        for place in sorted(places):
            stack.enter_context(cluster.lent(place))
            cluster.kubectl("create", "namespace", place)
        cluster.apply(*(one for one in documents if one["kind"] == "ServiceAccount"))  # pods are refused without
        said = cluster.apply(*documents, options=[*STRICTLY, "--force-conflicts"])
    assert said.count("serverside-applied") == len(documents)


@pytest.mark.usefixtures("operators")
def test_one_with_a_field_that_there_is_not_is_refused(cluster: Cluster) -> None:
    """So that the test before this one says something."""
    (monitor, *_) = (one for one in rendered("hardened") if one["kind"] == "ServiceMonitor")
    monitor["metadata"]["namespace"] = "default"
    monitor["spec"]["endpoints"][0]["intervall"] = "30s"
    with pytest.raises(AssertionError, match="intervall"):
        cluster.apply(monitor, options=STRICTLY)
