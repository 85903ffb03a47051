"""A request as a Kubernetes pod: plain data, from a pure function. Whoever starts it brings the client.

The pod meets the restricted Pod Security Standard, writes only to two empty folders of its own, and
holds references to Secrets, never their values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from tradewind_runtime.connections import variable
from tradewind_runtime.contract.base import ConnectionId, Frozen, digest
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.train import Resources
from tradewind_runtime.launchers.companions import ADDRESS, NAMESPACE, POD
from tradewind_runtime.launchers.exchange import arguments

CONTAINER = "step"
LABEL = "tradewind.dev"
GPU = "nvidia.com/gpu"
USER = 50000  # the images' own
LATE = 300  # seconds that Airflow has to end a pod itself before Kubernetes does

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
#: Where a Secret holds a connection: NAME/KEY.
_Held = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9._-]+$")]


class PodSettings(Frozen):
    """What the profile says about pods of steps."""

    connection: ConnectionId | None = Field(
        None, description="Airflow's connection of the cluster; without one, the cluster that Airflow runs in."
    )
    namespace: str = "tradewind"
    service_account: str = "tradewind-{pipeline}"
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    pending_timeout: int = Field(600, gt=0, description="Seconds that a pod may wait for a node.")
    autoscaled: bool = Field(
        False, description="Nodes may come that are not there now: a pod that fits on none waits for pending_timeout."
    )
    disruptions: int = Field(
        20, ge=0, description="How often a step may lose its node to others before that counts as a failure."
    )
    grace: int = Field(30, ge=0, description="Seconds between SIGTERM and SIGKILL.")
    node_selector: dict[str, str] = Field(default_factory=dict)
    resources: dict[str, Resources] = Field(
        default_factory=dict, description="By step kind, where the YAML asks for nothing."
    )
    scratch: str = Field("10Gi", pattern=r"^\d+(Mi|Gi)$", description="The most that a step may write to its own disk.")
    secrets: dict[str, _Held] = Field(
        default_factory=dict,
        description="Connection id → Secret/key that holds it, such as kafka_default: connections/kafka.",
    )


def pod(
    request: StepRequest,
    settings: PodSettings,
    *,
    image: str,
    resources: Resources | None = None,
    timeout: float | None = None,
    attempt: int = 1,
    avoid: Sequence[str] = (),
) -> dict[str, Any]:
    """The pod that does a request.

    Args:
        request: already in the lake when the pod starts.
        settings: the profile's.
        image: of the step's environment.
        resources: what the YAML asks for; else the profile's for this kind of step.
        timeout: seconds after which Kubernetes ends it even if nobody watches any more.
        attempt: tells a retry's pod from one that is still ending.
        avoid: nodes to stay away from where others can have it.

    Raises:
        StepError: TW592 where the profile names no Secret for one of its connections.
    """
    wanted = resources or settings.resources.get(request.step) or Resources()
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(request, attempt),
            "namespace": settings.namespace,
            "labels": labels(request),
            "annotations": {
                f"{LABEL}/run-id": request.run_id,
                f"{LABEL}/result": request.result_path,
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            },
        },
        "spec": _spec(request, settings, wanted, image, timeout) | _elsewhere(avoid),
    }


def pod_name(request: StepRequest, attempt: int = 1) -> str:
    """A DNS label, the same for the same request, run and attempt."""
    unique = digest(request.run_id, request.fingerprint, attempt)[:10]
    return f"tw-{_slug(request.pipeline)}-{_slug(request.id)}-{unique}"


def labels(request: StepRequest) -> dict[str, str]:
    """By which a pod is found again, and by which policies and dashboards select it."""
    return {
        "app.kubernetes.io/managed-by": "tradewind",
        "app.kubernetes.io/component": "step",
        f"{LABEL}/pipeline": label_value(request.pipeline),
        f"{LABEL}/step": label_value(request.id),
        f"{LABEL}/run": label_value(request.run_id),
        f"{LABEL}/fingerprint": label_value(request.fingerprint),
    }


def label_value(text: str) -> str:
    """A text as a label's value: itself where it is one, else shortened, with a digest that keeps it unique."""
    if _LABEL_VALUE.fullmatch(text):
        return text
    head = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:52].strip("-_.")
    return f"{head}-{digest(text)[:10]}".lstrip("-")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:22].strip("-")


def _spec(
    request: StepRequest, settings: PodSettings, wanted: Resources, image: str, timeout: float | None
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.service_account.replace("{pipeline}", request.pipeline),
        "automountServiceAccountToken": _starts_pods(request),
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.grace,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(request, settings, wanted, image)],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": settings.scratch}},
            {"name": "scratch", "emptyDir": {"sizeLimit": settings.scratch}},
        ],
    }
    if timeout:
        spec["activeDeadlineSeconds"] = math.ceil(timeout) + LATE
    if settings.node_selector:
        spec["nodeSelector"] = dict(settings.node_selector)
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if wanted.gpu:
        spec["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    return spec


def _elsewhere(avoid: Sequence[str]) -> dict[str, Any]:
    if not avoid:
        return {}
    rule = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": list(avoid)}
    wish = {"weight": 100, "preference": {"matchExpressions": [rule]}}
    return {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}}


def _container(request: StepRequest, settings: PodSettings, wanted: Resources, image: str) -> dict[str, Any]:
    amounts = {"cpu": f"{wanted.cpu:g}", "memory": wanted.memory} | ({GPU: str(wanted.gpu)} if wanted.gpu else {})
    own = {
        "HOME": "/scratch",
        "TMPDIR": "/scratch",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(math.ceil(wanted.cpu)),  # else a library starts a thread for each core of the node
    }
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "tradewind_runtime"],
        "args": arguments(request),
        "env": [{"name": name, "value": value} for name, value in own.items()]
        + (_itself() if has_companions(request) else [])
        + _connections(request, settings),
        # Requests are limits: a step is never throttled by its neighbours nor killed for their memory.
        "resources": {"requests": amounts, "limits": dict(amounts)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "scratch", "mountPath": "/scratch"}],  # noqa: S108
    }


def _connections(request: StepRequest, settings: PodSettings) -> list[dict[str, Any]]:
    found = []
    for named in sorted(set(request.connections.values())):
        held = settings.secrets.get(named)
        if held is None:
            raise StepError(
                "TW592", f"the profile names no Secret for the connection {named!r}", retryable=False,
                fix=f"kubernetes: {{secrets: {{{named}: connections/{named}}}}}",
            )  # fmt: skip
        secret, _, key = held.partition("/")
        found.append({"name": variable(named), "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    return found


def has_companions(request: StepRequest) -> bool:
    """Whether the step has companions: a training on several workers, or a sweep's trials."""
    train, tune = request.config.get("train") or {}, request.config.get("tune") or {}
    wanted = {"train": train.get("distributed") is not None, "tune": tune.get("workers") == "pods"}
    return wanted.get(request.step, False)


def _itself() -> list[dict[str, Any]]:
    """What a pod that starts others is told of itself."""
    told = {POD: "metadata.name", NAMESPACE: "metadata.namespace", ADDRESS: "status.podIP"}
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in told.items()]


def _starts_pods(request: StepRequest) -> bool:
    """Whether the step asks Kubernetes for pods itself: companions, or a Spark with its executors in the cluster."""
    if has_companions(request):
        return True
    spark = request.settings.get("spark") or {}
    return request.engine == "spark" and str(spark.get("master", "")).startswith("k8s://")
