"""Pods that a run has left, which its last task takes away.

A task that is killed when its pod has ended, and then finds the pod's result, leaves one; so does one that is killed
at its last try.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from airflow.providers.cncf.kubernetes.pod_generator import make_safe_label_value
from kubernetes.client import ApiClient, ApiException, CoreV1Api  # type: ignore[import-untyped]


def remove(client: ApiClient, namespace: str, *, dag_id: str, run_id: str) -> Iterator[str]:
    """End all of a run whose tasks wait for none any more; their names.

    Raises:
        ApiException: where Kubernetes refuses; of urllib3 where it does not answer.
    """
    api = CoreV1Api(client)
    labels = {"app.kubernetes.io/managed-by": "tradewind", "dag_id": dag_id, "run_id": run_id}
    chosen = ",".join(f"{name}={make_safe_label_value(value)}" for name, value in labels.items())
    for pod in api.list_namespaced_pod(namespace, label_selector=chosen).items:
        try:
            api.delete_namespaced_pod(pod.metadata.name, namespace)
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        yield pod.metadata.name
