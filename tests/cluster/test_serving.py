"""An endpoint's own server on the cluster: made with Airflow's rights, under load through a canary, back, a lost pod.

The scheduler is left out: what the rollout's task applies and waits for is called by hand, with the chart's rights.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from tests.helm import chart
from tests.servers import buckets
from tests.servers.kubernetes import parts
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.images import Image
from tests.tradewind_runtime.serving.conftest import Models

from tradewind.dev.running import start
from tradewind.dev.servers.s3 import S3
from tradewind.servers import OwnServer, Wanted
from tradewind.servers.apply import apply
from tradewind.servers.watch import ServerWatch
from tradewind_runtime import endpoints
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.endpoints import moves
from tradewind_runtime.lake import Lake
from tradewind_runtime.launchers.pod import PodSettings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
NAMESPACE, ENDPOINT, PIPELINE = "servers", "flights", "flight-delays"
LAKE, SECRET = "s3://servers/a lake", "connections"
SETTINGS = PodSettings(connection="cluster", namespace=NAMESPACE, secrets={"s3_lake": f"{SECRET}/s3_lake"})
KSERVE = "github.com/kserve/kserve@v0.15.2"
WHO = {"by": "test", "reason": "because"}


@dataclass
class Place:
    """Where servers are made: by an account that may do no more than the chart gives it."""

    cluster: Cluster
    image: str
    models: Models

    def wanted(self, endpoint: str = ENDPOINT, **own: Any) -> Wanted:
        given = {"image": self.image, "cpu": 0.3, "memory": "700Mi", "replicas": {"min": 2, "max": 2}, "patience": 240}
        return Wanted(endpoint, PIPELINE, LAKE, "s3_lake", OwnServer.model_validate(given | own), SETTINGS)

    def came(self, wanted: Wanted, *, ready: bool) -> dict[str, Any]:
        """What the rollout's task hears from its trigger."""
        watch = ServerWatch(
            connection="cluster", namespace=NAMESPACE, selector=wanted.selector,
            replicas=wanted.own.replicas.min, ready=ready, patience=wanted.own.patience,
        )  # fmt: skip
        return dict(asyncio.run(_first(watch)))

    def url(self, wanted: Wanted) -> str:
        """Of its service, which this machine reaches as pods do."""
        service = self.cluster.get("service", wanted.name, "--namespace", NAMESPACE)
        return f"http://{service['spec']['clusterIP']}/v2/models/{wanted.endpoint}/infer"

    def serves(self, generation: int, replicas: int = 2) -> bool:
        """Whether so many replicas have it."""
        found = endpoints.statuses(self.models.documents, ENDPOINT)
        return sum(one.generation == generation for one in found) >= replicas


async def _first(watch: ServerWatch) -> Any:
    async for event in watch.run():
        return event.payload
    raise AssertionError


@pytest.fixture(scope="module")
def place(cluster: Cluster, built: Callable[[str], Image], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("serving")
    with start(S3.at(folder / "s3", host=parts.MASTER)) as running, pytest.MonkeyPatch.context() as patch:
        buckets.make(running.server, "servers")
        text = running.server.connections()["s3_default"]
        lake = Lake(LAKE, Connection.parse("s3_lake", text))
        cluster.apply(_namespace(), _account(), *_rights())
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE}}
        cluster.apply(secret | {"stringData": {"s3_lake": text}})
        patch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps({"conn_type": "kubernetes", "extra": _way(cluster)}))
        try:
            yield Place(cluster, built("serving").name, Models(folder / "models", lake.documents))
        finally:
            cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _namespace() -> dict[str, Any]:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": label}}


def _account() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "airflow", "namespace": NAMESPACE}}


def _rights() -> list[dict[str, Any]]:
    """Of the chart, for both kinds of server."""
    team = {"name": "servers", "namespace": NAMESPACE, "pipelines": [{"name": PIPELINE}]}
    given = {"teams": [team], "launchers": [{"name": "airflow", "namespace": NAMESPACE}]}
    found = []
    for kind in ("deployment", "kserve"):
        for one in chart.rendered("small", given | {"launcherServers": kind}):
            if one["metadata"].get("namespace") != NAMESPACE:
                continue
            if one["kind"] in {"Role", "RoleBinding"}:
                one["metadata"]["name"] += f"-{kind}"
                if one["kind"] == "RoleBinding":
                    one["roleRef"]["name"] += f"-{kind}"
                found.append(one)
            elif one["kind"] == "ServiceAccount":
                found.append(one)
    return found


def _way(cluster: Cluster) -> str:
    """Airflow's account's, with its token."""
    token = cluster.kubectl("create", "token", "airflow", "--namespace", NAMESPACE, "--duration", "8h").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    return json.dumps({"kube_config": json.dumps(config), "namespace": NAMESPACE})


def rows(n: int = 3) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(n, 3))


def body(x: np.ndarray) -> dict[str, Any]:
    names = enumerate("abc")
    columns = [{"name": n, "shape": [len(x)], "datatype": "FP64", "data": x[:, i].tolist()} for i, n in names]
    return {"inputs": columns}


@dataclass
class Load:
    """Requests by new connections; each is asked once more where its connection broke."""

    url: str
    digests: Counter[str] = field(default_factory=Counter)
    again: int = 0
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            for last in (False, True):
                try:
                    answer = httpx.post(self.url, json=body(rows(1)), timeout=10, trust_env=False)
                    answer.raise_for_status()
                except httpx.HTTPError as error:
                    if last:
                        self.failed.append(repr(error))
                    self.again += 1
                    continue
                self.digests[answer.json()["parameters"]["digest"]] += 1
                break


@contextmanager
def load(url: str) -> Iterator[Load]:
    found = Load(url)
    thread = threading.Thread(target=found.run, daemon=True)
    thread.start()
    yield found
    found.stop.set()
    thread.join()


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

    before = {pod["metadata"]["uid"] for pod in pods(place, wanted)}
    list(apply(wanted))
    with load(url) as asked:
        moves.promote(documents, ENDPOINT, new, expected=1, weight=30, version="2", **WHO)
        place.cluster.until(lambda: place.serves(2), "the canary in both replicas", seconds=30)
        asked.digests.clear()
        place.cluster.until(lambda: asked.digests.total() >= 300, "300 answers", seconds=120)
        share = asked.digests[new] / asked.digests.total()
        assert abs(share - 0.3) < 0.1, asked.digests
        moves.abort_canary(documents, ENDPOINT, expected=2, **WHO)
        place.cluster.until(lambda: place.serves(3), "the way back", seconds=30)
        asked.digests.clear()
        place.cluster.until(lambda: asked.digests.total() >= 50, "50 answers", seconds=60)
        assert set(asked.digests) == {old}
        assert {pod["metadata"]["uid"] for pod in pods(place, wanted)} == before, "neither costs a pod"

        gone = pods(place, wanted)[0]["metadata"]["name"]
        place.cluster.kubectl("delete", "pod", gone, "--namespace", NAMESPACE, "--wait=false")
        place.cluster.until(lambda: gone not in names(place, wanted), "the pod's end", seconds=90)
        assert place.came(wanted, ready=True) == {"up": 2, "why": ""}
    print(f"{share:.2f} of the answers by the canary; a pod was deleted: {asked.again} were asked again")
    assert not asked.failed


def pods(place: Place, wanted: Wanted) -> list[dict[str, Any]]:
    chosen = f"tradewind.dev/endpoint={wanted.endpoint}"
    return list(place.cluster.get("pods", "--namespace", NAMESPACE, "--selector", chosen)["items"])


def names(place: Place, wanted: Wanted) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods(place, wanted)}


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


def test_kserve_takes_its_inference_service(place: Place, tmp_path: Path) -> None:
    wanted = place.wanted("kserve", kind="kserve", replicas={"min": 0, "max": 3})
    with pytest.raises(StepError, match=r"TW601.*no InferenceService"):
        list(apply(wanted))
    place.cluster.kubectl("apply", "--server-side", "--filename", str(crd(tmp_path)))
    try:
        place.cluster.until(lambda: applied(wanted), "the API has the new kind", seconds=30)
        found = place.cluster.get("inferenceservice", wanted.name, "--namespace", NAMESPACE)
        predictor = found["spec"]["predictor"]
        assert (predictor["minReplicas"], predictor["maxReplicas"]) == (0, 3)
        assert predictor["containers"][0]["args"] == wanted.pod("kserve-container")["containers"][0]["args"]
        assert predictor["securityContext"] == wanted.pod("kserve-container")["securityContext"]
    finally:
        place.cluster.kubectl("delete", "crd", "inferenceservices.serving.kserve.io")


def applied(wanted: Wanted) -> bool:
    try:
        return list(apply(wanted)) == [f"InferenceService {wanted.name}"]
    except StepError:
        return False


def crd(folder: Path) -> Path:
    """KServe's own, as its module has it."""
    (folder / "go.mod").write_text("module crd\n")
    command = ["go", "mod", "download", "-json", KSERVE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found = Path(json.loads(done.stdout)["Dir"]) / "config/crd/full/serving.kserve.io_inferenceservices.yaml"
    kept = folder / "crd.yaml"
    shutil.copy(found, kept)
    body = yaml.safe_load(kept.read_text())
    body["spec"].pop("conversion", None)  # by a webhook of its controller
    kept.write_text(yaml.safe_dump(body))
    return kept
