"""An endpoint's own server through Airflow: from training to its answer, then a canary, and a lost pod meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.cluster.house import LAKE, NAMESPACE, SMALL, ClusterHouse
from tests.servers.kubernetes.images import Image

from tradewind.dev import stack
from tradewind.plan.request import run_key
from tradewind_runtime import endpoints
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.documents import Documents
from tradewind_runtime.lake import Lake

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
PIPELINE, ROLLOUT, SERVER = "own-server", "own-server__rollout", "serve-own-server"
TOKEN = "not for everybody"
ASKED = 40
BODY: dict[str, Any] = {
    "version": 1,
    "pipeline": PIPELINE,
    "params": {"rounds": {"type": "integer", "default": 10}},
    "sources": {"patients": {"sample": {"name": "breast_cancer"}}},
    "split": {"random": {"valid": 0.2, "test": 0.2}},
    "train": {
        "estimator": "sklearn.HistGradientBoostingClassifier",
        "label": "target",
        "params": {"max_iter": "{params.rounds}"},
    },
    "promote": {"model": PIPELINE, "when": {"roc_auc": {"min": 0.8}}},
    "deploy": {
        "canary": [30, 100],
        "stage": {"min_requests": 20, "min_time": "5s", "max_time": "90s"},
        "abort": {"latency_ratio": 50, "shift": 1},  # two cores say nothing of either
    },
}


@pytest.fixture(scope="module")
def own(house: ClusterHouse, built: Callable[[str], Image]) -> Iterator[ClusterHouse]:
    """The house, whose profile has servers of their own for the time of this module, with a token."""
    path = house.folder / "profiles/cluster.yaml"
    before = path.read_text()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "callers", "namespace": NAMESPACE}}
    house.cluster.apply(secret | {"stringData": {"token": TOKEN}})
    try:
        path.write_text(with_servers(before, built("serving").name))
        house.write("own_server.yaml", yaml.safe_dump(BODY, sort_keys=False))
        for dag_id in (PIPELINE, ROLLOUT):
            house.until(lambda dag_id=dag_id: house.dag(dag_id), f"the DAG {dag_id}")
            house.airflow.unpause(dag_id)
        yield house
    finally:
        path.write_text(before)
        chosen = f"tradewind.dev/endpoint={PIPELINE}"
        kinds = "deployment,service,hpa,pdb"
        house.cluster.kubectl("delete", kinds, "--selector", chosen, "--namespace", NAMESPACE, "--wait=false")


def with_servers(text: str, image: str) -> str:
    profile = yaml.safe_load(text)
    own = {"kind": "deployment", "image": image, "replicas": {"min": 1, "max": 1}, "cpu": 0.3, "memory": "700Mi"}
    profile["serving"]["own"] = own | {"token": "callers/token"}
    profile["runners"]["replay"] = "kubernetes"
    profile["kubernetes"]["resources"]["replay"] = SMALL
    return yaml.safe_dump(profile)


def rolled_out(house: ClusterHouse, rounds: int, meanwhile: Callable[[str], None] = lambda _: None) -> tuple[str, str]:
    """Train a version, and follow the rollout that it wakes: its run, and the version's digest."""
    known = {run["dag_run_id"] for run in house.airflow.runs(ROLLOUT)}
    house.trigger(PIPELINE, f"rounds{rounds}", rounds=rounds)
    assert house.airflow.follow(PIPELINE, f"rounds{rounds}", lambda _: None) == "success"
    run_id = house.airflow.await_run(ROLLOUT, known)
    meanwhile(run_id)
    state = house.airflow.follow(ROLLOUT, run_id, lambda _: None)
    states = {task["task_id"]: task["state"] for task in house.airflow.tasks(ROLLOUT, run_id)}
    assert state == "success", states
    assert set(states.values()) == {"success"}, states
    return run_id, str(house.airflow.told(PIPELINE, f"rounds{rounds}", "register")["facts"]["digest"])


def caller(house: ClusterHouse, token: str = TOKEN) -> httpx.Client:
    """Of its service, which this machine reaches as pods do."""
    service = house.cluster.get("service", SERVER, "--namespace", NAMESPACE)
    headers = {"authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"http://{service['spec']['clusterIP']}", headers=headers, trust_env=False, timeout=20)


def question(client: httpx.Client) -> dict[str, Any]:
    """One row, all ones, of the columns that the server names."""
    columns = client.get(f"/v2/models/{PIPELINE}").raise_for_status().json()["inputs"]
    return {"inputs": [one | {"shape": [1], "data": [1.0]} for one in columns]}


def answered(client: httpx.Client) -> dict[str, Any]:
    asked = client.post(f"/v2/models/{PIPELINE}/infer", json=question(client)).raise_for_status()
    return dict(asked.json()["parameters"])


def servers(house: ClusterHouse) -> list[dict[str, Any]]:
    chosen = f"app.kubernetes.io/component=server,tradewind.dev/endpoint={PIPELINE}"
    return list(house.cluster.get("pods", "--namespace", NAMESPACE, "--selector", chosen)["items"])


def documents(house: ClusterHouse) -> Documents:
    text = stack.connections(house.folder / ".tradewind")["s3_default"]
    return Lake(f"s3://{LAKE}/cluster", Connection.parse("s3_default", text)).documents


def test_from_training_to_an_answer_by_the_endpoints_own_server(own: ClusterHouse) -> None:
    run_id, digest = rolled_out(own, 10)
    assert own.airflow.told(ROLLOUT, run_id, "serve") == {"server": SERVER, "replicas": 1}
    with caller(own, "a guess") as stranger:
        assert stranger.get(f"/v2/models/{PIPELINE}").status_code == 401
    with caller(own) as client:
        assert answered(client)["digest"] == digest
        for _ in range(ASKED):
            answered(client)
    (pod,) = servers(own)
    (status,) = (one for one in endpoints.statuses(documents(own), PIPELINE) if one.replica == pod["metadata"]["name"])
    assert status.generation == 1
    own.cluster.until(lambda: captured(own) > 0, "captured requests", seconds=30)


def captured(house: ClusterHouse) -> int:
    return sum(1 for _ in documents(house).names(f"capture/{PIPELINE}"))


def test_a_canary_survives_the_loss_of_the_servers_pod_and_is_judged_by_a_replay(own: ClusterHouse) -> None:
    """Nobody asks: what was captured before goes through both arms, from a pod that has the token."""
    before = own.cluster.get("deployment", SERVER, "--namespace", NAMESPACE)["metadata"]
    (old,) = servers(own)

    def lose(run_id: str) -> None:
        own.until(lambda: own.waits(ROLLOUT, run_id, "canary_30"), "the canary's stage")
        own.cluster.kubectl("delete", "pod", old["metadata"]["name"], "--namespace", NAMESPACE, "--wait=false")

    run_id, digest = rolled_out(own, 40, lose)
    after = own.cluster.get("deployment", SERVER, "--namespace", NAMESPACE)["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"]), "nothing of it has changed"
    (new,) = servers(own)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    with caller(own) as client:
        assert answered(client)["digest"] == digest
    metrics = replay(own, run_id).metrics
    print(own.airflow.told(ROLLOUT, run_id, "canary_30"), metrics)
    assert metrics["rows"] == metrics["canary_sent"] == 20
    assert metrics["stable_failed"] == metrics["canary_failed"] == 0
    own.cluster.until(lambda: not own.pods(), "the end of all steps' pods")


def replay(house: ClusterHouse, run_id: str) -> StepResult:
    """What it left in the lake."""
    lake = documents(house)
    noted = Path("runs") / PIPELINE / run_key("rollout", run_id) / "results/canary_30_replay"
    path = lake.get(str(noted))
    assert path is not None, "there was none"
    result = lake.get_model(path.decode(), StepResult)
    assert result is not None
    return result
