"""What both kinds of server are made of. Pure."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tradewind.servers.settings import OwnServer
from tradewind_runtime.contract.base import digest
from tradewind_runtime.contract.deploy import SERVING_TOKEN
from tradewind_runtime.launchers.pod import LABEL, RESTRICTED, PodSettings, label_value, secret_env, security

Object = dict[str, Any]
PORT = 8085
COMPONENT = "server"
_MOST = 40  # of an endpoint's name: KServe makes host names of it and of the namespace


@dataclass(frozen=True)
class Wanted:
    """The server of one endpoint.

    Args:
        endpoint: its name, which is its model's.
        pipeline: that it belongs to.
        lake: URI of the lake that says what it serves.
        connection: id of the lake's connection, if it has one.
        own: what the profile says of such servers.
        settings: and of pods.
    """

    endpoint: str
    pipeline: str
    lake: str
    connection: str | None
    own: OwnServer
    settings: PodSettings

    @property
    def name(self) -> str:
        """Of all its objects."""
        short = self.endpoint if len(self.endpoint) <= _MOST else f"{self.endpoint[:_MOST]}-{digest(self.endpoint)[:6]}"
        return f"serve-{short}"

    @property
    def url(self) -> str:
        """Where pods of the cluster reach it; of KServe, its predictor's, which also wakes one that sleeps."""
        host = f"{self.name}-predictor" if self.own.kind == "kserve" else self.name
        return f"http://{host}.{self.settings.namespace}.svc"

    @property
    def labels(self) -> dict[str, str]:
        """By which its pods are found."""
        return {
            "app.kubernetes.io/managed-by": "tradewind",
            "app.kubernetes.io/component": COMPONENT,
            f"{LABEL}/pipeline": label_value(self.pipeline),
            f"{LABEL}/endpoint": label_value(self.endpoint),
        }

    @property
    def revision(self) -> dict[str, str]:
        """By which the pods of just this state of the profile are found."""
        return {f"{LABEL}/revision": digest(self.pod("revision"))[:16]}

    @property
    def selector(self) -> str:
        """Of those pods, as Kubernetes is asked for them."""
        return ",".join(f"{key}={value}" for key, value in (self.labels | self.revision).items())

    def metadata(self) -> Object:
        """Of each object."""
        return {"name": self.name, "namespace": self.settings.namespace, "labels": self.labels}

    def pod(self, container: str) -> Object:
        """A pod's spec, under the restricted standard.

        Raises:
            StepError: TW592 where the profile names no Secret for the lake's connection.
        """
        spec: Object = {
            "serviceAccountName": self.own.service_account.replace("{pipeline}", self.pipeline),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 45,
            "securityContext": security(self.settings),
            "containers": [self._container(container)],
            "volumes": [{"name": name, "emptyDir": {"sizeLimit": "1Gi"}} for name in ("tmp", "scratch")],
        }
        if self.settings.image_pull_secrets:
            spec["imagePullSecrets"] = [{"name": name} for name in self.settings.image_pull_secrets]
        if self.settings.node_selector:
            spec["nodeSelector"] = dict(self.settings.node_selector)
        return spec

    def _container(self, name: str) -> Object:
        amount = {"cpu": f"{self.own.cpu:g}", "memory": self.own.memory}
        lake = [f"--lake-connection={self.connection}"] if self.connection else []
        token = {SERVING_TOKEN: self.own.token} if self.own.token else {}
        itself = {"POD_NAME": "metadata.name", "POD_IP": "status.podIP"}
        return {
            "name": name,
            "image": self.own.image,
            "imagePullPolicy": self.settings.image_pull_policy,
            "command": ["python", "-m", "tradewind_runtime.serving"],
            "args": [
                f"--lake={self.lake}",
                *lake,
                f"--endpoint={self.endpoint}",
                "--host=0.0.0.0",
                f"--port={PORT}",
                "--replica=$(POD_NAME)",
                f"--address=http://$(POD_IP):{PORT}",
            ],
            "env": [
                *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in itself.items()),
                {"name": "HOME", "value": "/scratch"},
                *secret_env([self.connection] if self.connection else [], self.settings, token),
            ],
            "ports": [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}],
            "startupProbe": _asked("live", periodSeconds=2, failureThreshold=60),
            "livenessProbe": _asked("live", periodSeconds=10, timeoutSeconds=3),
            "readinessProbe": _asked("ready", periodSeconds=2, timeoutSeconds=3),
            # Callers hear that it goes before it stops listening.
            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
            "resources": {"requests": amount, "limits": dict(amount)},
            "securityContext": deepcopy(RESTRICTED),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "scratch", "mountPath": "/scratch"}],  # noqa: S108
        }


def _asked(what: str, **rest: int) -> Object:
    return {"httpGet": {"path": f"/v2/health/{what}", "port": PORT}, **rest}
