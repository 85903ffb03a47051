"""Pods that a step's own pod starts, for Spark: as it is, with another command and no Secret."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.launchers.pod.names import labels
from tradewind_runtime.launchers.pod.settings import PodSettings

CONTAINER = "executor"
SCRATCH = "/scratch"
TEMPLATE = "TRADEWIND_EXECUTOR_POD"  # of the driver's variables: how its executors look
#: By this name Spark takes a volume for its own disk.
_DISK = "spark-local-dir-1"


def asks_kubernetes(request: StepRequest) -> bool:
    """Whether the step starts pods itself: Spark with its executors in the cluster."""
    spark = request.settings.get("spark") or {}
    return request.engine == "spark" and str(spark.get("master", "")).startswith("k8s://")


def template(request: StepRequest, settings: PodSettings, spec: dict[str, Any]) -> dict[str, Any]:
    """The pod of an executor, to which Spark adds its name, its owner, its variables and what it asks for.

    Args:
        request: of the step.
        settings: the profile's.
        spec: of the driver's pod.
    """
    body = deepcopy(spec)
    body.pop("activeDeadlineSeconds", None)
    own = [one for one in body["volumes"] if "emptyDir" in one]
    kept = {one["name"] for one in own}
    container = body["containers"][0]
    container |= {
        "name": CONTAINER,
        "command": ["python", "-m", "tradewind_runtime.spark_executor"],
        "args": [],
        "workingDir": SCRATCH,  # where it puts the files that its driver adds, as the user's code
        "env": [one for one in container["env"] if "value" in one],
        "resources": {},
        "volumeMounts": [_disk(one) for one in container["volumeMounts"] if one["name"] in kept],
    }
    body |= {"automountServiceAccountToken": False, "containers": [container], "volumes": [_disk(one) for one in own]}
    named = labels(request) | {"app.kubernetes.io/component": CONTAINER}
    metadata = {"namespace": settings.namespace, "labels": named}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def _disk(part: dict[str, Any]) -> dict[str, Any]:
    return part | {"name": _DISK} if part["name"] == "scratch" else part
