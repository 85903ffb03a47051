"""The project's own images, as pods that may do as little as the restricted standard allows."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.restricted import assert_restricted
from tests.servers.kubernetes import images
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.images import Image
from tests.servers.kubernetes.parts import NODES

from tradewind_runtime.launchers.pod import USER

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
TARGETS = ("steps", "serving", "airflow")
LIMITS = {"steps": 1_050, "serving": 320, "airflow": 680}  # MB, as they travel
NAMESPACE = "images"
INSIDE = Path(__file__).with_name("inside.py")
SPARK = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.config("spark.sql.shuffle.partitions", 2).getOrCreate()
spark.range(1000).selectExpr("id % 7 AS key").groupBy("key").count().write.parquet("/scratch/counted")
print("rows:", spark.read.parquet("/scratch/counted").count())
"""

Built = Callable[[str], Image]


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Cluster:
    """With a namespace where only restricted pods are let in."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": NAMESPACE, "labels": label}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    return cluster


def pod(name: str, image: Image, *, arguments: list[str], command: list[str] | None = None) -> dict[str, Any]:
    """That writes to folders of its own alone; without a command, the image's own entry point."""
    folders = {"tmp": "/tmp", "scratch": "/scratch", "airflow": "/opt/airflow"}
    container = {
        "name": "main", "image": image.name, "args": arguments,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in folders.items()],
    }  # fmt: skip
    spec = {
        "restartPolicy": "Never", "automountServiceAccountToken": False, "nodeName": NODES[0].name,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": volume, "emptyDir": {}} for volume in folders],
        "containers": [container | ({"command": command} if command else {})],
    }  # fmt: skip
    assert_restricted(spec)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def said(cluster: Cluster, wanted: dict[str, Any]) -> str:
    """All that a pod says until its end, which is a good one."""
    name = wanted["metadata"]["name"]
    cluster.apply(wanted)
    cluster.until(lambda: phase(cluster, name) in {"Succeeded", "Failed"}, f"{name} ends", seconds=300)
    log = cluster.kubectl("logs", name, "--namespace", NAMESPACE)
    assert phase(cluster, name) == "Succeeded", log
    cluster.kubectl("delete", "pod", name, "--namespace", NAMESPACE, "--now")
    return log


def phase(cluster: Cluster, name: str) -> str:
    found = cluster.get("pod", name, "--namespace", NAMESPACE)["status"]
    waits = [one["state"]["waiting"] for one in found.get("containerStatuses", []) if "waiting" in one["state"]]
    assert not any(one["reason"].startswith(("ErrImage", "ImagePull")) for one in waits), waits
    return str(found["phase"])


@pytest.mark.parametrize("target", TARGETS)
def test_it_is_small_and_says_what_it_was_made_from(built: Built, target: str) -> None:
    image = built(target)
    print(f"{target}: {image.compressed / 1e6:.0f} MB compressed, {image.size / 1e6:.0f} MB unpacked")
    assert image.compressed < LIMITS[target] * 1e6
    config = images.config(image.name)
    assert config["User"] == f"{USER}:{USER}"
    labels = config["Labels"]
    assert len(labels["org.opencontainers.image.revision"]) == 40
    assert labels["org.opencontainers.image.title"] == f"tradewind-{target}"
    # How the builder's machine reaches packages stays there.
    assert not [one for one in config["Env"] if one.startswith(("PIP_", "UV_", "SSL_")) or "proxy" in one.lower()]


@pytest.mark.parametrize("target", TARGETS)
def test_it_lists_what_it_holds_and_nothing_of_it_can_be_changed(place: Cluster, built: Built, target: str) -> None:
    command = ["python", "-c", INSIDE.read_text()]
    found = json.loads(said(place, pod(f"inside-{target}", built(target), command=command, arguments=[])))
    assert found["user"] == USER
    assert found["writable"] == []
    assert found["stale"] == 0
    listed = found["listed"]
    assert set(found["python"]) - set(listed["pypi"]) == {"tradewind"}
    assert listed["deb"] == found["debian"]
    assert bool(listed["maven"]) == (target == "steps")


def test_steps_answer(place: Cluster, built: Built) -> None:
    assert "Do one step's request." in said(place, pod("steps", built("steps"), arguments=["--help"]))


def test_spark_counts(place: Cluster, built: Built) -> None:
    assert "rows: 7" in said(place, pod("spark", built("steps"), command=["python", "-c", SPARK], arguments=[]))


def test_java_trusts_the_authorities_that_debian_trusts(place: Cluster, built: Built) -> None:
    command = ["keytool", "-list", "-cacerts", "-storepass", "changeit"]
    assert said(place, pod("java", built("steps"), command=command, arguments=[])).count("trustedCertEntry") > 100


def test_airflow_knows_its_version_and_its_plugin(place: Cluster, built: Built) -> None:
    version = said(place, pod("version", built("airflow"), arguments=["airflow", "version"]))
    assert version.split()[-1] == "3.3.2"
    plugins = said(place, pod("plugins", built("airflow"), arguments=["airflow", "plugins", "--output", "plain"]))
    assert "tradewind" in plugins


def test_the_model_server_lives(place: Cluster, built: Built) -> None:
    arguments = ["--lake=file:///scratch/lake", "--host=0.0.0.0", "--port=8085"]
    place.apply(pod("serving", built("serving"), arguments=arguments))

    def lives() -> bool:
        found = place.get("pod", "serving", "--namespace", NAMESPACE)["status"]
        assert phase(place, "serving") in {"Pending", "Running"}
        return "podIP" in found and alive(found["podIP"])

    took = place.until(lives, "the model server answers", seconds=120)
    print(f"the model server answered {took:.0f} s after its pod was made")
    place.kubectl("delete", "pod", "serving", "--namespace", NAMESPACE, "--now")


def alive(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}:8085/v2/health/live", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
