"""A control plane of its own on the loopback, and nodes that kwok pretends to be.

Real are etcd, the API server and the scheduler; a pod "runs" until its annotation's time, and its log is a file.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.authority import Authority, private_key, public_key
from tests.servers.kubernetes import parts, programs

from tradewind.dev import ports
from tradewind.dev.ports import LOOPBACK
from tradewind.dev.running import Running, start
from tradewind.dev.servers.base import answer

ENDS_AT = "bench.tradewind.dev/ends-at"  # of a pod: a time, as Kubernetes writes it
LOG = "2026-01-01T00:00:00.000000000Z stdout F epoch 1: loss 0.3\n"


@dataclass(frozen=True, kw_only=True)
class Etcd(parts.Part):
    """Where all of it is kept."""

    name: ClassVar[str] = "etcd"

    def command(self) -> list[str]:  # noqa: D102
        client, peer = (f"http://{LOOPBACK}:{self.ports[name]}" for name in ("client", "peer"))
        return [
            self.program, "--data-dir", str(self.folder / "data"), "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}", "--unsafe-no-fsync", "--log-level", "warn",
        ]  # fmt: skip

    def healthy(self) -> bool:  # noqa: D102
        return answer(f"http://{LOOPBACK}:{self.ports['client']}/health") is not None


@dataclass(frozen=True, kw_only=True)
class ApiServer(parts.Part):
    """As it comes, but for what its controllers would have to do: accounts, and taints of new nodes."""

    name: ClassVar[str] = "kube-apiserver"

    @property
    def url(self) -> str:  # noqa: D102
        return f"https://{LOOPBACK}:{self.ports['api']}"

    def prepare(self) -> None:  # noqa: D102
        super().prepare()
        self.pki.issue("apiserver", "kube-apiserver", hosts=(LOOPBACK, "localhost"))
        self.pki.issue("kubelet-client", "kube-apiserver-kubelet", ["system:masters"])
        public_key(private_key(self.pki.folder / "sa.key"), self.pki.folder / "sa.pub")

    def command(self) -> list[str]:  # noqa: D102
        at = self.pki.folder
        return [
            self.program, "--etcd-servers", f"http://{LOOPBACK}:{self.ports['client']}", "--bind-address", LOOPBACK,
            "--secure-port", str(self.ports["api"]), "--tls-cert-file", f"{at}/apiserver.crt",
            "--tls-private-key-file", f"{at}/apiserver.key", "--client-ca-file", str(self.pki.certificate),
            "--authorization-mode", "RBAC", "--disable-admission-plugins", "ServiceAccount,TaintNodesByCondition",
            "--service-account-issuer", "https://bench", "--service-account-key-file", f"{at}/sa.pub",
            "--service-account-signing-key-file", f"{at}/sa.key", "--endpoint-reconciler-type", "none",
            "--kubelet-client-certificate", f"{at}/kubelet-client.crt",
            "--kubelet-client-key", f"{at}/kubelet-client.key",
            "--kubelet-preferred-address-types", "InternalIP", "--profiling=false",
        ]  # fmt: skip

    def healthy(self) -> bool:  # noqa: D102
        return parts.asked(f"{self.url}/readyz", self.pki.certificate) == "ok"


@dataclass(frozen=True, kw_only=True)
class Scheduler(parts.Part):
    """The scheduler, asking as often as it likes."""

    name: ClassVar[str] = "kube-scheduler"

    config: Path

    def command(self) -> list[str]:  # noqa: D102
        return [
            self.program, "--kubeconfig", str(self.config), "--authentication-kubeconfig", str(self.config),
            "--authorization-kubeconfig", str(self.config), "--bind-address", LOOPBACK,
            "--secure-port", str(self.ports["scheduler"]), "--leader-elect=false",
            "--kube-api-qps", "1000", "--kube-api-burst", "1000",
        ]  # fmt: skip

    def healthy(self) -> bool:  # noqa: D102
        return ports.answers(self.ports["scheduler"])


@dataclass(frozen=True, kw_only=True)
class Kwok(parts.Part):
    """All nodes' kubelets."""

    name: ClassVar[str] = "kwok"

    config: Path

    def prepare(self) -> None:  # noqa: D102
        super().prepare()
        self.pki.issue("kwok", "kwok", hosts=(LOOPBACK,))
        (self.folder / "log").write_text(LOG)
        bodies = [*stages(), logs(self.folder / "log")]
        (self.folder / "config.yaml").write_text("\n---\n".join(json.dumps(body) for body in bodies))

    def command(self) -> list[str]:  # noqa: D102
        at, port = self.pki.folder, self.ports["kwok"]
        return [
            self.program, "--kubeconfig", str(self.config), "--config", str(self.folder / "config.yaml"),
            "--manage-all-nodes", "--node-lease-duration-seconds", "0", "--server-address", f"{LOOPBACK}:{port}",
            "--node-ip", LOOPBACK, "--node-port", str(port),
            "--tls-cert-file", f"{at}/kwok.crt", "--tls-private-key-file", f"{at}/kwok.key",
        ]  # fmt: skip

    def healthy(self) -> bool:  # noqa: D102
        return ports.answers(self.ports["kwok"])


def stages() -> list[dict[str, Any]]:
    """What becomes of a pod: it runs at once, ends well when it says, and goes when it is deleted."""
    return [
        _stage("runs", [_where(".metadata.deletionTimestamp"), _where(".status.phase", "Pending")], _status("Running")),
        _stage("ends", [_where(".metadata.deletionTimestamp"), _where(".status.phase", "Running")],
               _status("Succeeded"), {"durationFrom": {"expressionFrom": f'.metadata.annotations["{ENDS_AT}"]'},
                                      "durationMilliseconds": 3_600_000}),
        _stage("goes", [{"key": ".metadata.deletionTimestamp", "operator": "Exists"}], {"delete": True}),
        # Nodes are made as they are to be.
        {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": "node"},
         "spec": {"resourceRef": {"apiGroup": "v1", "kind": "Node"}, "next": {},
                  "selector": {"matchLabels": {"bench": "never"}}}},
    ]  # fmt: skip


def logs(file: Path) -> dict[str, Any]:
    """The log of every pod."""
    named = {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterLogs", "metadata": {"name": "all"}}
    return named | {"spec": {"logs": [{"logsFile": str(file)}]}}


def _where(key: str, value: str | None = None) -> dict[str, Any]:
    if value is None:
        return {"key": key, "operator": "DoesNotExist"}
    return {"key": key, "operator": "In", "values": [value]}


def _stage(
    name: str, where: list[dict[str, Any]], then: dict[str, Any], delay: dict[str, Any] | None = None
) -> dict[str, Any]:
    spec = {"resourceRef": {"apiGroup": "v1", "kind": "Pod"}, "selector": {"matchExpressions": where}, "next": then}
    stage = {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}}
    return stage | {"spec": spec | ({"delay": delay} if delay else {})}


def _status(phase: str) -> dict[str, Any]:
    """The message bears the time, which Kubernetes else keeps by whole seconds."""
    times = "startedAt: {{ $now | Quote }}"
    if phase == "Succeeded":
        ended = "exitCode: 0, reason: Completed, finishedAt: {{ $now | Quote }}, message: {{ $now | Quote }}"
        state = "terminated: {%s, %s}" % (times, ended)  # noqa: UP031 - braces are the template's
    else:
        state = "running: {%s}" % times  # noqa: UP031
    return {
        "statusTemplate": "{{ $now := Now }}\n"
        f"phase: {phase}\nstartTime: {{{{ $now | Quote }}}}\ncontainerStatuses:\n"
        "{{ range .spec.containers }}\n- name: {{ .name | Quote }}\n  image: {{ .image | Quote }}\n"
        f"  ready: {str(phase == 'Running').lower()}\n  restartCount: 0\n  state: {{{state}}}\n{{{{ end }}}}\n"
    }


@dataclass
class Plane:
    """That is up."""

    kubeconfig: Path
    api: Running[ApiServer]

    def kill_api(self) -> None:
        """Kill the API server, and start it again on the same etcd."""
        self.api.kill()
        self.api = start(self.api.server)


@contextmanager
def opened(*, nodes: int) -> Iterator[Plane]:
    """A plane with so many nodes, gone afterwards."""
    programs.install()
    names = ("client", "peer", "api", "scheduler", "kwok")
    with tempfile.TemporaryDirectory(prefix="tw-plane-", ignore_cleanup_errors=True) as made, ExitStack() as stack:
        folder = Path(made)
        pki = Authority(folder / "pki")
        bins = programs.parts(folder / "bin")
        given = ports.choose(dict.fromkeys(names))
        config = pki.kubeconfig("admin", f"https://{LOOPBACK}:{given['api']}", "admin", ["system:masters"])
        common: dict[str, Any] = {"ports": given, "pki": pki}
        stack.enter_context(start(Etcd(folder=folder / "etcd", program="etcd", **common)))
        found = Plane(config, start(ApiServer(folder=folder / "api", program=bins["kube-apiserver"], **common)))
        stack.callback(lambda: found.api.stop())  # noqa: PLW0108 - the one of then
        for server in (
            Scheduler(folder=folder / "scheduler", program=bins["kube-scheduler"], config=config, **common),
            Kwok(folder=folder / "kwok", program=str(programs.program("kwok")), config=config, **common),
        ):
            stack.enter_context(start(server))
        _make_nodes(bins["kubectl"], config, nodes, given["kwok"])
        yield found


def node(number: int, port: int) -> dict[str, Any]:
    """One that is ready."""
    has = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "500Gi", "pods": "110"}
    name = f"node-{number:04d}"
    return {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "capacity": has, "allocatable": has,
            "addresses": [{"type": "InternalIP", "address": LOOPBACK}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }  # fmt: skip


def _make_nodes(kubectl: str, config: Path, count: int, port: int) -> None:
    body = {"apiVersion": "v1", "kind": "List", "items": [node(number, port) for number in range(count)]}
    command = [kubectl, "--kubeconfig", str(config), "create", "--filename", "-"]
    subprocess.run(command, input=json.dumps(body), text=True, check=True, capture_output=True)
