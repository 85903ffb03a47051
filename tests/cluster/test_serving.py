"""An endpoint's own server on the cluster: made with Airflow's rights, under load through a canary, back, a lost pod.

The scheduler is left out: what the rollout's task applies and waits for is called by hand, with the chart's rights.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.cluster.servers import ENDPOINT, NAMESPACE, PIPELINE, SETTINGS, WHO, Place, body, load, rows
from tests.servers.kubernetes import parts, programs
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.extras import Metrics

from tradewind.dev.running import start
from tradewind.servers import Wanted
from tradewind.servers.apply import apply
from tradewind_runtime.endpoints import moves

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


@pytest.fixture
def metrics(cluster: Cluster, tmp_path: Path) -> Iterator[None]:
    """It is there as long as the test."""
    folder, program = tmp_path / "metrics", str(programs.program("metrics"))
    server = Metrics.at(folder, host=parts.MASTER, program=program, kubeconfig=cluster.kubeconfig)
    with start(server):
        cluster.apply(*server.objects())
        yield
    for kind, name in (("apiservice", "v1beta1.metrics.k8s.io"), ("service", Metrics.name)):
        cluster.kubectl("delete", kind, name, "--namespace", "kube-system")


def test_a_server_is_made_and_answers_through_canary_rollback_and_a_lost_pod(place: Place) -> None:
    old, own = place.models.train(1)
    new, _ = place.models.train(2)
    documents, wanted = place.models.documents, place.wanted()
    assert len(list(apply(wanted))) == 4
    assert place.came(wanted, ready=False) == {"up": 2, "why": ""}, "it runs, with nothing to serve yet"
    moves.promote(documents, ENDPOINT, old, expected=0, version="1", **WHO)
    place.cluster.until(lambda: place.serves(1), "both replicas serve the first generation", seconds=60)
    assert place.came(wanted, ready=True) == {"up": 2, "why": ""}
    url, x = place.url(wanted), rows(5)
    answer = httpx.post(url, json=body(x), trust_env=False).raise_for_status().json()
    assert np.abs(np.array(answer["outputs"][0]["data"]) - own(x)).max() <= 1e-12

    before = {pod["metadata"]["uid"] for pod in place.pods(wanted)}
    list(apply(wanted))
    with load(url) as asked:
        moves.promote(documents, ENDPOINT, new, expected=1, weight=30, version="2", **WHO)
        place.cluster.until(lambda: place.serves(2), "the canary in both replicas", seconds=30)
        asked.forget()
        place.cluster.until(lambda: asked.digests.total() >= 300, "300 answers", seconds=120)
        share = asked.digests[new] / asked.digests.total()
        assert abs(share - 0.3) < 0.1, asked.digests
        moves.abort_canary(documents, ENDPOINT, expected=2, **WHO)
        place.cluster.until(lambda: place.serves(3), "the way back", seconds=30)
        asked.forget()
        place.cluster.until(lambda: asked.digests.total() >= 50, "50 answers", seconds=60)
        assert set(asked.digests) == {old}
        assert {pod["metadata"]["uid"] for pod in place.pods(wanted)} == before, "neither costs a pod"

        gone = place.pods(wanted)[0]["metadata"]["name"]
        place.cluster.kubectl("delete", "pod", gone, "--namespace", NAMESPACE, "--wait=false")
        place.cluster.until(lambda: gone not in names(place, wanted), "the pod's end", seconds=90)
        assert place.came(wanted, ready=True) == {"up": 2, "why": ""}
    print(f"{share:.2f} of the answers by the canary; a pod was deleted: {asked.again} were asked again")
    assert not asked.failed


def names(place: Place, wanted: Wanted) -> set[str]:
    return {pod["metadata"]["name"] for pod in place.pods(wanted)}


def test_why_it_does_not_come_up_is_said(place: Place) -> None:
    absent = place.wanted("absent", replicas={"min": 1, "max": 1}, image=f"{parts.REGISTRY}/tradewind/absent:1")
    secret = place.wanted("secret", replicas={"min": 1, "max": 1}, token="none/token")
    said = {}
    for wanted in (absent, secret):
        list(apply(wanted))
        said[wanted.endpoint] = place.came(wanted, ready=True)["why"]
        print(said[wanted.endpoint])
    assert "cannot have its image" in said["absent"]
    assert "not found" in said["absent"]
    assert 'secret "none" not found' in said["secret"]


def test_a_crash_loop_is_told_with_its_last_words(place: Place) -> None:
    wanted = Wanted(
        "crash", PIPELINE, "nowhere://lake", "s3_lake", place.wanted(replicas={"min": 1, "max": 1}).own, SETTINGS
    )
    list(apply(wanted))
    why = place.came(wanted, ready=False)["why"]
    print(why)
    assert "starts again and again: it ends with exit code 1: " in why
    assert "nowhere" in why


def test_a_quota_that_keeps_all_pods_away_is_told(place: Place) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full", "namespace": NAMESPACE}}
    wanted = place.wanted("quota", replicas={"min": 1, "max": 1})
    place.cluster.apply(quota | {"spec": {"hard": {"requests.cpu": "0"}}})
    try:
        place.cluster.until(lambda: _known(place, "full"), "the quota counts", seconds=30)
        list(apply(wanted))
        began = time.monotonic()
        why = place.came(wanted, ready=False)["why"]
        took = time.monotonic() - began
    finally:
        place.cluster.kubectl("delete", "resourcequota", "full", "--namespace", NAMESPACE)
    print(f"after {took:.0f} s: {why}")
    assert "its pods are refused: " in why
    assert "exceeded quota: full" in why
    assert took < 60
    place.cluster.kubectl("delete", "deployment", wanted.name, "--namespace", NAMESPACE)


def _known(place: Place, quota: str) -> bool:
    """Its controller has counted what there is; before that nothing is refused."""
    found = place.cluster.get("resourcequota", quota, "--namespace", NAMESPACE)
    return bool(found.get("status", {}).get("hard"))


@pytest.mark.usefixtures("metrics")
def test_a_replica_comes_with_the_load_and_goes_after_it(place: Place) -> None:
    """By Kubernetes' own autoscaler and what metrics-server tells it."""
    wanted = place.wanted("scales", replicas={"min": 1, "max": 2, "cpu": 60})
    digest, _ = place.models.train(3)
    list(apply(wanted))
    moves.promote(place.models.documents, wanted.endpoint, digest, expected=0, version="1", **WHO)
    assert place.came(wanted, ready=True) == {"up": 1, "why": ""}
    with load(place.url(wanted)) as asked:
        more = place.cluster.until(lambda: _replicas(place, wanted) == 2, "a second replica answers", seconds=180)
    fewer = place.cluster.until(lambda: _replicas(place, wanted) == 1, "one replica is left", seconds=180)
    print(f"a second replica answered after {more:.0f} s, one was left {fewer:.0f} s after the last request")
    assert not asked.failed


def _replicas(place: Place, wanted: Wanted) -> int:
    """Of the deployment, that answer."""
    found = place.cluster.get("deployment", wanted.name, "--namespace", NAMESPACE)
    return int(found["status"].get("readyReplicas", 0))
