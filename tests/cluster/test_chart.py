"""The chart by Helm on a real cluster, with its network policies enforced: a platform team's first week."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cluster import databases
from tests.cluster import release as releases
from tests.cluster.policies import STEP, enforced
from tests.cluster.probes import Who, listening, pod, reached
from tests.cluster.release import ENDPOINT, LABEL, NAME, NAMESPACE, TEAM, Release, question
from tests.helm.chart import merged
from tests.servers.kubernetes import parts
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.images import Image

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]  # the first has all images built
COMPANION = 40000  # a port on which a step is asked by its companions


@pytest.fixture(scope="module")
def release(cluster: Cluster, built: Callable[[str], Image]) -> Iterator[Release]:
    """Installed, once for all tests here, on a cluster that holds to network policies."""
    images = {name: built(name) for name in ("steps", "serving", "postgresql")}
    with tempfile.TemporaryDirectory(prefix="tw-chart-") as name:
        folder = Path(name)
        with enforced(cluster, folder / "policies", NAME), releases.beside(folder, cluster, images) as found:
            found.install()
            yield found


def test_its_own_test_passes(release: Release) -> None:
    """The servers answer, and a step of each namespace sees the lake."""
    assert release.test() == (True, ["Succeeded"] * 3)
    answer = httpx.post(serving(release), json=question(2), timeout=10, trust_env=False)
    assert answer.json()["parameters"]["arm"] == "stable"


def test_its_own_test_fails_where_a_part_is_broken(release: Release) -> None:
    """MLflow without its database; then a team's wrong key of the lake."""
    database = f"statefulset/{NAME}-mlflow-postgresql"
    release.kubectl("scale", database, "--replicas=0")
    release.kubectl("wait", "pod", f"{NAME}-mlflow-postgresql-0", "--for=delete", "--timeout=120s")
    found = release.test()
    release.kubectl("scale", database, "--replicas=1")
    release.kubectl("rollout", "status", database, "--timeout=180s")
    release.kubectl("wait", f"deployment/{NAME}-mlflow", "--for=condition=Available", "--timeout=180s")
    assert found[0] is False
    assert found[1][0] == "Failed"
    assert f"http://{NAME}-mlflow:5000" in said(release, f"{NAME}-answers", NAMESPACE)
    wrong = json.loads(release.connection) | {"password": "wrong"}
    release.cluster.apply(releases.secret(TEAM, json.dumps(wrong)))
    found = release.test()
    release.cluster.apply(releases.secret(TEAM, release.connection))
    assert found == (False, ["Succeeded", "Succeeded", "Failed"])
    assert "SignatureDoesNotMatch" in said(release, f"{NAME}-lake", TEAM)
    assert release.test() == (True, ["Succeeded"] * 3)


def said(release: Release, pod: str, namespace: str) -> str:
    """By a pod that has ended."""
    return release.cluster.kubectl("logs", pod, "--namespace", namespace)


def test_an_upgrade_and_its_rollback_lose_no_run_and_no_request(release: Release) -> None:
    run = logged(release)
    larger = {"limits": {"memory": "1152Mi"}}
    changed = merged(release.values, {"serving": {"replicas": 2, "resources": larger}, "mlflow": {"resources": larger}})
    with asking(release) as answers:
        release.upgrade(changed)
        assert {limit(pod) for pod in release.pods("serving")} == {"1152Mi"}
        assert len(release.pods("serving")) == 2
        assert logged(release, run) == run
        time.sleep(3)
        release.rollback()
    (pod,) = release.pods("serving")
    assert limit(pod) == "1Gi"
    assert logged(release, run) == run
    print(f"answers during an upgrade and a rollback: {dict(answers)}")
    assert set(answers) == {200}
    assert answers[200] > 100  # the whole while


def limit(pod: dict[str, Any]) -> str:
    """Of a pod's memory."""
    return str(pod["spec"]["containers"][0]["resources"]["limits"]["memory"])


def test_mlflow_goes_over_to_sqlite_and_back(release: Release) -> None:
    """Each database keeps its runs, also while the other is used."""
    first = logged(release)
    release.upgrade(merged(release.values, {"mlflow": {"postgresql": {"enabled": False}}}))
    assert release.pods("mlflow-postgresql") == []
    second = logged(release)
    release.kubectl("rollout", "restart", f"deployment/{NAME}-mlflow")
    release.kubectl("rollout", "status", f"deployment/{NAME}-mlflow", "--timeout=300s")
    assert logged(release, second) == second
    # Not by `helm rollback`, which refuses what is kept and was left out in between.
    release.upgrade(release.values)
    assert logged(release, first) == first


def test_mlflow_takes_a_database_that_is_there(release: Release) -> None:
    """Elsewhere, and reached because `egress` names it."""
    first = logged(release)
    with databases.another(release) as (held, egress):
        policy = release.values["networkPolicy"]
        found = {"mlflow": {"database": held, "postgresql": {"enabled": False}}}
        release.upgrade(merged(release.values, found | {"networkPolicy": {"egress": [*policy["egress"], egress]}}))
        assert release.pods("mlflow-postgresql") == []
        second = logged(release)
        release.kubectl("rollout", "restart", f"deployment/{NAME}-mlflow")
        release.kubectl("rollout", "status", f"deployment/{NAME}-mlflow", "--timeout=300s")
        assert logged(release, second) == second
        release.upgrade(release.values)
    assert logged(release, first) == first


def logged(release: Release, run: str | None = None) -> str:
    """A run's id: of a new one with a metric, or of one that is there with the same."""
    if run is None:
        made = release.mlflow("POST", "runs/create", {"experiment_id": "0", "run_name": "kept", "start_time": 1})
        run = str(made["run"]["info"]["run_id"])
        release.mlflow("POST", "runs/log-metric", {"run_id": run, "key": "auc", "value": 0.75, "timestamp": 1})
    found = release.mlflow("GET", "runs/get", {"run_id": run})["run"]
    assert [(one["key"], one["value"]) for one in found["data"]["metrics"]] == [("auc", 0.75)]
    return str(found["info"]["run_id"])


def serving(release: Release) -> str:
    """Where the model server is asked, by its service."""
    return f"http://{release.address('serving')}/v2/models/{ENDPOINT}/infer"


@contextmanager
def asking(release: Release) -> Iterator[Counter[int | str]]:
    """Ask without a pause, each time by a new connection; statuses and errors, and how often."""
    found: Counter[int | str] = Counter()
    done = threading.Event()
    url = serving(release)

    def ask() -> None:
        while not done.wait(0.05):
            try:
                found[httpx.post(url, json=question(2), timeout=10, trust_env=False).status_code] += 1
            except httpx.HTTPError as error:
                found[repr(error)] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def test_who_reaches_whom(release: Release) -> None:
    """Pods that try each other, the servers, and what stands beside the cluster."""
    cluster, image = release.cluster, release.image("steps")
    trips = STEP | {"tradewind.dev/pipeline": "trips"}
    listener = Who("listener", NAMESPACE, trips)
    servers = {"serving": 80, "mlflow": 5000, "mlflow-postgresql": 5432}
    targets = {part: (f"{NAME}-{part}.{NAMESPACE}.svc", port) for part, port in servers.items()} | {
        "lake": (parts.MASTER, release.lake_port),
        "registry": (parts.MASTER, int(parts.REGISTRY.rpartition(":")[2])),
        "kubernetes": ("kubernetes.default.svc", 443),
        "listener": (listening(cluster, listener, image, COMPANION), COMPANION),
    }
    step = {"serving", "mlflow", "lake"}
    expected = [
        (Who("step", NAMESPACE, STEP | {"tradewind.dev/pipeline": "flights"}), step),
        (Who("companion", NAMESPACE, trips), step | {"kubernetes", "listener"}),
        (Who("team", TEAM, STEP | {"tradewind.dev/pipeline": "card-fraud"}), step),
        (Who("airflow", NAMESPACE, {"tier": "airflow"}), step | {"kubernetes"}),
        (Who("stranger", NAMESPACE, {"app": "stranger"}), set()),
        # No policy holds it back; but none lets it in.
        (Who("visitor", "default", STEP), {"lake", "registry", "kubernetes"}),
    ]
    found = reached(cluster, [who for who, _ in expected], image, targets)
    release.kubectl("delete", "pod", listener.name, "--now")
    assert found == {who.name: allowed for who, allowed in expected}


def test_a_teams_quota_and_limits_hold(release: Release) -> None:
    usual = pod(Who("quota", TEAM, STEP), parts.PAUSE)
    container = usual["spec"]["containers"][0]

    def tried(*resources: dict[str, Any]) -> str:
        """What is said to a pod of such containers, or what the first of them is given."""
        usual["spec"]["containers"] = [
            container | {"name": f"c{number}", "resources": one} for number, one in enumerate(resources)
        ]
        made = ("create", "--dry-run=server", "--filename", "-", "--output", "jsonpath={.spec.containers[0].resources}")
        try:
            return release.cluster.kubectl(*made, input=json.dumps(usual))
        except AssertionError as error:
            return str(error)

    given = {"cpu": "500m", "memory": "512Mi"}
    assert json.loads(tried({})) == {"limits": given, "requests": given}
    assert "maximum memory usage per Container is 2Gi" in tried({"limits": {"memory": "3Gi"}})
    assert "exceeded quota: chart, requested: requests.cpu=2500m" in tried(*[{}] * 5)


def test_airflow_may_start_pods_and_read_no_secrets(release: Release) -> None:
    def may(verb: str, kind: str, namespace: str, part: str = "") -> bool:
        account = f"system:serviceaccount:{NAMESPACE}:airflow"
        words = ["auth", "can-i", verb, kind, "--subresource", part, "--as", account, "--namespace", namespace]
        return release.cluster.kubectl(*words, check=False).strip() == "yes"

    for namespace in (NAMESPACE, TEAM):
        assert may("create", "pods", namespace)
        assert may("get", "pods", namespace, "log")
        assert not may("create", "pods", namespace, "exec")
        assert not may("get", "secrets", namespace)
    assert not may("create", "pods", "default")


def test_an_uninstall_leaves_what_is_kept_and_an_installation_finds_it(release: Release) -> None:
    run = logged(release)
    release.uninstall()
    kept = {
        f"persistentvolumeclaim/{NAME}-mlflow", f"persistentvolumeclaim/{NAME}-mlflow-postgresql",
        f"secret/{NAME}-mlflow-postgresql", f"namespace/{TEAM}",
    }  # fmt: skip
    # Helm does not wait for pods of what it has deleted.
    release.cluster.until(lambda: left(release) == kept, f"only {kept} are left")
    release.install()
    assert logged(release, run) == run
    assert release.test() == (True, ["Succeeded"] * 3)


def left(release: Release) -> set[str]:
    """All that bears the release's label, and pods of its namespaces, on their way out or not."""
    kubectl = release.cluster.kubectl
    named = set(kubectl("api-resources", "--verbs=list,delete", "--output=name").split())
    kinds = ",".join(sorted(named - {"events", "events.events.k8s.io", "endpoints"}))
    labelled = kubectl("get", kinds, "--all-namespaces", "--selector", LABEL, "--output=name").split()
    pods = [kubectl("get", "pods", "--namespace", one, "--output=name").split() for one in (NAMESPACE, TEAM)]
    return {*labelled, *pods[0], *pods[1]}
