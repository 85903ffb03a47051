"""A PostgreSQL that is no part of a release: as a platform team has it, with a password of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.probes import Who, pod
from tests.cluster.release import NAMESPACE, POSTGRES, Release

WHO = Who("own-database", "default", {})
SECRET = "own-database"
PORT = 5432
FOLDERS = {"data": "/var/lib/postgresql/data", "run": "/var/run/postgresql", "tmp": "/tmp", "shm": "/dev/shm"}


@contextmanager
def another(release: Release) -> Iterator[tuple[str, dict[str, Any]]]:
    """For a release: the Secret's key that holds its URL, and the rule by which it is reached."""
    cluster, password = release.cluster, secrets.token_urlsafe()
    where = ("--namespace", WHO.namespace)
    cluster.apply(_pod(release.image("postgresql"), password))
    try:
        cluster.kubectl("wait", "pod", WHO.name, *where, "--for=condition=Ready", "--timeout=180s")
        address = cluster.get("pod", WHO.name, *where)["status"]["podIP"]
        metadata = {"name": SECRET, "namespace": NAMESPACE}
        url = f"postgresql://mlflow:{password}@{address}:{PORT}/mlflow"
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"url": url}})
        peer = {"ipBlock": {"cidr": f"{address}/32"}}
        yield f"{SECRET}/url", {"to": [peer], "ports": [{"port": PORT}]}
    finally:
        cluster.kubectl("delete", "pod", WHO.name, *where, "--now", "--ignore-not-found")


def _pod(image: str, password: str) -> dict[str, Any]:
    body = pod(WHO, image)
    (container,) = body["spec"]["containers"]
    del container["command"]  # the image's own
    named = {"POSTGRES_USER": "mlflow", "POSTGRES_DB": "mlflow", "POSTGRES_PASSWORD": password}
    container["env"] = [{"name": name, "value": value} for name, value in named.items()]
    container["env"].append({"name": "PGDATA", "value": f"{FOLDERS['data']}/pgdata"})
    container["resources"] = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
    ready = ["pg_isready", "--quiet", "--username=mlflow", "--dbname=mlflow", "--host=127.0.0.1"]
    container["readinessProbe"] = {"exec": {"command": ready}, "periodSeconds": 3, "timeoutSeconds": 3}
    container["volumeMounts"] = [{"name": name, "mountPath": path} for name, path in FOLDERS.items()]
    body["spec"]["volumes"] = [{"name": name, "emptyDir": {}} for name in FOLDERS]
    body["spec"]["securityContext"] |= {"runAsUser": POSTGRES, "runAsGroup": POSTGRES, "fsGroup": POSTGRES}
    return body
