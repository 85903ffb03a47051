"""An endpoint's server as KServe's InferenceService, by KServe's own controller and webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from tests.cluster.servers import NAMESPACE, WHO, Place, body, load, rows
from tests.servers.kubernetes import inference, parts
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.inference import KServe

from tradewind.dev.running import start
from tradewind.servers import Wanted
from tradewind.servers.apply import apply
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.endpoints import moves

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def kserve(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KServe]:
    """Built; its kinds are not there yet, and are not there afterwards."""
    found = inference.kserve(tmp_path_factory.mktemp("kserve"), cluster.kubeconfig)
    yield found
    removed = {"apiVersion": "v1", "kind": "List", "items": [*found.webhooks(), *found.kinds()]}
    cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "--filename", "-", input=json.dumps(removed))


@pytest.fixture(scope="module")
def running(place: Place, kserve: KServe) -> Iterator[None]:
    """It does its work, and is asked about each InferenceService."""
    with start(kserve):
        place.cluster.apply(*kserve.webhooks(), options=["--server-side"])
        yield


def test_what_is_missing_of_it_is_told(place: Place, kserve: KServe) -> None:
    """Its kinds, and then its controller."""
    wanted = place.wanted("silent", kind="kserve", replicas={"min": 0, "max": 3}, patience=15)
    with pytest.raises(StepError, match=r"TW601.*no InferenceService"):
        list(apply(wanted))
    # By the server: such a kind is larger than what is noted of it otherwise.
    place.cluster.apply(*kserve.kinds(), options=["--server-side"])
    place.cluster.until(lambda: applied(wanted), "the API has the new kind", seconds=30)
    predictor = place.cluster.get("inferenceservice", wanted.name, "--namespace", NAMESPACE)["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (0, 3)
    assert predictor["containers"][0]["args"] == wanted.pod("kserve-container")["containers"][0]["args"]
    assert predictor["securityContext"] == wanted.pod("kserve-container")["securityContext"]
    assert "does its controller run?" in place.came(wanted, ready=True)["why"]


def test_what_it_says_where_there_can_be_no_pod_is_told(place: Place) -> None:
    """Before its controller runs, so that another says it: with Knative, which is not here, it would."""
    wanted = place.wanted("silent", kind="kserve", replicas={"min": 0, "max": 3})
    says(place, wanted, type="PredictorReady", status="False", reason="RevisionFailed", message="no right to")
    why = place.came(wanted, ready=True)["why"]
    assert why == "KServe says PredictorReady is false: RevisionFailed: no right to"
    says(place, wanted, type="Ready", status="True")
    assert place.came(wanted, ready=True) == {"up": 0, "why": ""}
    place.cluster.kubectl("delete", "inferenceservice", wanted.name, "--namespace", NAMESPACE)


def says(place: Place, wanted: Wanted, **condition: str) -> None:
    status = json.dumps({"status": {"conditions": [condition]}})
    place.cluster.kubectl(
        "patch", "inferenceservice", wanted.name, "--namespace", NAMESPACE, "--subresource", "status",
        "--type", "merge", "--patch", status,
    )  # fmt: skip


def applied(wanted: Wanted) -> bool:
    try:
        return list(apply(wanted)) == [f"InferenceService {wanted.name}"]
    except StepError:
        return False


@pytest.mark.usefixtures("running")
def test_a_server_answers_through_canary_and_rollback(place: Place) -> None:
    wanted = place.wanted("raw", kind="kserve", replicas={"min": 2, "max": 3})
    documents, endpoint = place.models.documents, wanted.endpoint
    old, own = place.models.train(1)
    new, _ = place.models.train(2)
    assert applied(wanted)
    moves.promote(documents, endpoint, old, expected=0, version="1", **WHO)
    assert place.came(wanted, ready=True) == {"up": 2, "why": ""}
    url, x = place.url(wanted), rows(5)
    answer = httpx.post(url, json=body(x), trust_env=False).raise_for_status().json()
    assert np.abs(np.array(answer["outputs"][0]["data"]) - own(x)).max() <= 1e-12

    before = {pod["metadata"]["uid"] for pod in place.pods(wanted)}
    assert applied(wanted)
    with load(url) as asked:
        moves.promote(documents, endpoint, new, expected=1, weight=30, version="2", **WHO)
        place.cluster.until(lambda: place.serves(2, endpoint=endpoint), "the canary in both replicas", seconds=30)
        asked.forget()
        place.cluster.until(lambda: asked.digests.total() >= 300, "300 answers", seconds=120)
        share = asked.digests[new] / asked.digests.total()
        assert abs(share - 0.3) < 0.1, asked.digests
        moves.abort_canary(documents, endpoint, expected=2, **WHO)
        place.cluster.until(lambda: place.serves(3, endpoint=endpoint), "the way back", seconds=30)
        asked.forget()
        place.cluster.until(lambda: asked.digests.total() >= 50, "50 answers", seconds=60)
        assert set(asked.digests) == {old}
    assert not asked.failed
    assert {pod["metadata"]["uid"] for pod in place.pods(wanted)} == before, "neither costs a pod"
    scaler = place.cluster.get("hpa", f"{wanted.name}-predictor", "--namespace", NAMESPACE)["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 3)
    assert scaler["metrics"][0]["resource"]["name"] == "cpu"
    place.cluster.kubectl("delete", "inferenceservice", wanted.name, "--namespace", NAMESPACE)
    place.cluster.until(lambda: not place.pods(wanted), "the end of its pods", seconds=120)


@pytest.mark.usefixtures("running")
def test_none_may_be_left_where_nobody_asks_and_one_is_there(place: Place) -> None:
    """Kubernetes' own autoscaler leaves one; Knative's, which is not here, would leave none."""
    wanted = place.wanted("sleeper", kind="kserve", replicas={"min": 0, "max": 1})
    assert applied(wanted)
    assert place.came(wanted, ready=False)["why"] == ""
    place.cluster.kubectl("delete", "inferenceservice", wanted.name, "--namespace", NAMESPACE)


@pytest.mark.usefixtures("running")
def test_why_it_does_not_come_up_is_said(place: Place) -> None:
    """Of its pod; and what KServe says where there can be none."""
    absent = place.wanted("absent", kind="kserve", image=f"{parts.REGISTRY}/tradewind/absent:1")
    assert applied(absent)
    why = place.came(absent, ready=True)["why"]
    print(why)
    assert "cannot have its image" in why
    place.cluster.kubectl("delete", "inferenceservice", absent.name, "--namespace", NAMESPACE)
