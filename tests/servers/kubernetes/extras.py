"""Parts of a cluster that a test starts: network policies, enforced, and what pods use."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx
from tests.servers.kubernetes.parts import NODES, SERVICES

from tradewind.dev.servers.base import Server


@dataclass(frozen=True, kw_only=True)
class Policies(Server):
    """Network policies, enforced: by kube-router's controller, since a bridge does not.

    On a cluster that is shared it can be told to leave others' policies alone.
    """

    name: ClassVar[str] = "policies"
    wants: ClassVar[Mapping[str, int | None]] = {}
    grace: ClassVar[float] = 20  # to take its rules away

    program: str
    kubeconfig: Path
    selector: str = ""  # labels of the policies that are enforced; empty: all

    def command(self) -> list[str]:
        return [
            self.program, "--kubeconfig", str(self.kubeconfig), "--node", NODES[0].name, "--services", SERVICES,
            "--selector", self.selector,
        ]  # fmt: skip

    def healthy(self) -> bool:
        """Its first rules are there: the last of them accepts what complies."""
        done = subprocess.run(
            ["iptables", "--list-rules", "KUBE-ROUTER-FORWARD"], capture_output=True, text=True, check=False
        )
        return "--mark 0x20000/0x20000 -j ACCEPT" in done.stdout

    def tidy(self) -> None:
        """What it has left where it was killed: rules for addresses that other pods get."""
        untie_policies()


def untie_policies() -> None:
    """Nothing asks the rules of network policies any more."""
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        subprocess.run(["iptables", "--flush", f"KUBE-ROUTER-{chain}"], check=False, capture_output=True)


@dataclass(frozen=True, kw_only=True)
class Metrics(Server):
    """What pods use, by metrics-server: an autoscaler asks for it."""

    name: ClassVar[str] = "metrics-server"
    wants: ClassVar[Mapping[str, int | None]] = {"https": None}

    program: str
    kubeconfig: Path

    def command(self) -> list[str]:
        config = str(self.kubeconfig)
        return [
            self.program, "--kubeconfig", config, "--authentication-kubeconfig", config,
            "--authorization-kubeconfig", config, "--bind-address", self.host, "--secure-port",
            str(self.ports["https"]), "--cert-dir", str(self.folder / "pki"), "--kubelet-insecure-tls",
            "--kubelet-preferred-address-types", "InternalIP", "--metric-resolution", "10s",
            "--kubelet-request-timeout", "5s",
        ]  # fmt: skip

    def healthy(self) -> bool:
        """It has metrics; its certificate is its own."""
        try:
            answer = httpx.get(f"https://{self.host}:{self.ports['https']}/readyz", verify=False, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK

    def objects(self) -> Iterator[dict[str, Any]]:
        """By which the API server finds it."""
        place = {"name": self.name, "namespace": "kube-system"}
        port = {"name": "https", "port": 443, "targetPort": self.ports["https"]}
        yield {"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": {"ports": [port]}}
        yield {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": place | {"labels": {"kubernetes.io/service-name": self.name}}, "addressType": "IPv4",
            "ports": [{"name": "https", "port": self.ports["https"]}], "endpoints": [{"addresses": [self.host]}],
        }  # fmt: skip
        spec = {
            "group": "metrics.k8s.io", "version": "v1beta1", "service": place, "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100, "versionPriority": 100,
        }  # fmt: skip
        metadata = {"name": "v1beta1.metrics.k8s.io"}
        yield {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": metadata, "spec": spec}
