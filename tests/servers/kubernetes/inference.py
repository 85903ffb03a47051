"""KServe itself: its kinds, settings and webhooks as its module has them, and its controller from source.

A part that a test starts. It makes Deployments ("raw"): Knative has no network here.
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import yaml
from tests.servers.authority import Authority
from tests.servers.kubernetes import parts, programs

from tradewind.dev.servers.base import Server

NAMESPACE = "kserve"
MODULE = "github.com/kserve/kserve"
_CERTIFICATES = "k8s-webhook-server/serving-certs"  # below the temporary folder, by controller-runtime
#: Of its webhooks, those for what is made here.
_HOOKED = {"inferenceservice.serving.kserve.io"}
_SETTINGS = {
    "deploy": {"defaultDeploymentMode": "RawDeployment"},
    "ingress": {
        "ingressGateway": "knative-serving/knative-ingress-gateway", "kserveIngressGateway": "kserve/gateway",
        "ingressDomain": "example.com", "disableIngressCreation": True,
    },
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class KServe(Server):
    """Its controller, beside the cluster."""

    name: ClassVar[str] = "kserve"
    wants: ClassVar[Mapping[str, int | None]] = {"webhooks": None, "metrics": None, "health": None}

    program: str
    kubeconfig: Path

    def prepare(self) -> None:
        super().prepare()
        folder = self.folder / _CERTIFICATES
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = self._authority.issue("webhooks", "kserve", hosts=[self.host])
        certificate.rename(folder / "tls.crt")
        key.rename(folder / "tls.key")

    def command(self) -> list[str]:
        return [
            self.program, f"--webhook-port={self.ports['webhooks']}", f"--metrics-addr={self._at('metrics')}",
            f"--health-probe-addr={self._at('health')}",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self.kubeconfig), "TMPDIR": str(self.folder)}

    def healthy(self) -> bool:
        """Its webhooks listen."""
        context = ssl.create_default_context(cafile=str(self._authority.certificate))
        try:
            urllib.request.urlopen(self._hooks, context=context, timeout=3).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def kinds(self) -> Iterator[dict[str, Any]]:
        """What must be there before it starts."""
        for path in sorted((source() / "config/crd/full").glob("serving.kserve.io_*.yaml")):
            body = yaml.safe_load(path.read_text())
            body["spec"].pop("conversion", None)  # by a webhook that it has no more
            yield body
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        path = source() / "config/configmap/inferenceservice.yaml"
        found = yaml.safe_load(path.read_text())
        found["metadata"]["namespace"] = NAMESPACE
        yield found | {"data": found["data"] | {name: json.dumps(value) for name, value in _SETTINGS.items()}}

    def webhooks(self) -> Iterator[dict[str, Any]]:
        """Once it runs: what asks it."""
        authority = base64.b64encode(self._authority.certificate.read_bytes()).decode()
        for one in yaml.safe_load_all((source() / "config/webhook/manifests.yaml").read_text()):
            if one["metadata"]["name"] not in _HOOKED:
                continue
            for hook in one["webhooks"]:
                path = hook["clientConfig"]["service"]["path"]
                hook["clientConfig"] = {"url": f"{self._hooks}{path}", "caBundle": authority}
            yield one

    @cached_property
    def _authority(self) -> Authority:
        folder = self.folder / "pki"
        folder.mkdir(parents=True, exist_ok=True)
        return Authority(folder)

    @property
    def _hooks(self) -> str:
        return f"https://{self._at('webhooks')}"

    def _at(self, port: str) -> str:
        return f"{self.host}:{self.ports[port]}"


def source() -> Path:
    """Of the version that is built."""
    return programs.source(MODULE, folder=programs.HERE / "kserve")


def kserve(folder: Path, kubeconfig: Path) -> KServe:
    """On an address that the API server reaches."""
    return KServe.at(folder, host=parts.MASTER, program=str(programs.program("kserve")), kubeconfig=kubeconfig)
