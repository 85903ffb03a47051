"""A cluster's parts as servers of the stack: etcd, Kubernetes' own, containerd, DNS, the registry."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.servers.authority import Authority, private_key, public_key
from tests.servers.kubernetes.programs import CNI

from tradewind.dev import ports
from tradewind.dev.servers.base import Server, answer

MASTER = "10.250.0.1"  # this machine, as pods see it
SERVICES, PODS = "10.96.0.0/16", "10.244.0.0/16"
API_SERVICE, DNS_SERVICE = "10.96.0.1", "10.96.0.10"
DOMAIN = "cluster.local"
API = f"https://{MASTER}:6443"
REGISTRY = f"{MASTER}:5000"
FRONT_PROXY = "front-proxy"
PAUSE = "tradewind.dev/pause:1"


@dataclass(frozen=True)
class Node:
    """One of the two."""

    name: str
    host: str
    bridge: str
    subnet: str


NODES = (
    Node("node-a", MASTER, "tw-a", "10.244.0.0/24"),
    Node("node-b", "10.250.0.2", "tw-b", "10.244.1.0/24"),
)


def asked(url: str, authority: Path) -> str | None:
    """The answer of a part that has a certificate of ours; None where it does not answer with success."""
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with urllib.request.urlopen(url, context=context, timeout=3) as response:
            return str(response.read().decode())
    except (OSError, urllib.error.URLError):
        return None


@dataclass(frozen=True, kw_only=True)
class Part(Server, ABC):
    """One of Kubernetes' own parts."""

    wants: ClassVar[Mapping[str, int | None]] = {}
    grace: ClassVar[float] = 10

    program: str
    pki: Authority


@dataclass(frozen=True, kw_only=True)
class Etcd(Part):
    """Where all of it is kept."""

    name: ClassVar[str] = "etcd"

    def command(self) -> list[str]:
        client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
        return [
            self.program, "--data-dir", str(self.folder / "data"), "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}", "--unsafe-no-fsync", "--log-level", "warn",
        ]  # fmt: skip

    def healthy(self) -> bool:
        return answer("http://127.0.0.1:2379/health") is not None


@dataclass(frozen=True, kw_only=True)
class ApiServer(Part):
    """With RBAC, the restricted Pod Security Standard where a namespace asks for it, and quotas."""

    name: ClassVar[str] = "kube-apiserver"

    def prepare(self) -> None:
        super().prepare()
        hosts = (MASTER, API_SERVICE, "127.0.0.1", "localhost", "kubernetes.default.svc", "kubernetes.default")
        self.pki.issue("apiserver", "kube-apiserver", hosts=hosts)
        self.pki.issue("apiserver-kubelet", "kube-apiserver-kubelet", ["system:masters"])
        self.pki.issue("front-proxy", FRONT_PROXY)
        public_key(private_key(self.pki.folder / "sa.key"), self.pki.folder / "sa.pub")

    def command(self) -> list[str]:
        at = self.pki.folder
        return [
            self.program, "--etcd-servers", "http://127.0.0.1:2379", "--bind-address", MASTER,
            "--advertise-address", MASTER, "--secure-port", "6443", "--service-cluster-ip-range", SERVICES,
            "--tls-cert-file", f"{at}/apiserver.crt", "--tls-private-key-file", f"{at}/apiserver.key",
            "--client-ca-file", str(self.pki.certificate), "--authorization-mode", "Node,RBAC",
            "--enable-admission-plugins", "NodeRestriction", "--allow-privileged=true",
            "--service-account-issuer", f"https://kubernetes.default.svc.{DOMAIN}",
            "--service-account-key-file", f"{at}/sa.pub", "--service-account-signing-key-file", f"{at}/sa.key",
            "--kubelet-client-certificate", f"{at}/apiserver-kubelet.crt",
            "--kubelet-client-key", f"{at}/apiserver-kubelet.key",
            "--kubelet-preferred-address-types", "InternalIP", "--profiling=false",
            # For APIs that others serve behind it.
            "--requestheader-client-ca-file", str(self.pki.certificate),
            "--requestheader-allowed-names", FRONT_PROXY, "--requestheader-username-headers", "X-Remote-User",
            "--requestheader-group-headers", "X-Remote-Group",
            "--requestheader-extra-headers-prefix", "X-Remote-Extra-",
            "--proxy-client-cert-file", f"{at}/front-proxy.crt", "--proxy-client-key-file", f"{at}/front-proxy.key",
            "--enable-aggregator-routing",
        ]  # fmt: skip

    def healthy(self) -> bool:
        return asked(f"{API}/readyz", self.pki.certificate) == "ok"


@dataclass(frozen=True, kw_only=True)
class Manager(Part):
    """The controllers; a node that is silent for 16 seconds is lost, and the autoscaler is quicker than by default."""

    name: ClassVar[str] = "kube-controller-manager"

    def command(self) -> list[str]:
        at = self.pki.folder
        config = self.pki.kubeconfig("manager", API, "system:kube-controller-manager")
        return [
            self.program, "--kubeconfig", str(config), "--authentication-kubeconfig", str(config),
            "--authorization-kubeconfig", str(config), "--bind-address", "127.0.0.1",
            "--root-ca-file", str(self.pki.certificate), "--service-account-private-key-file", f"{at}/sa.key",
            "--use-service-account-credentials", "--leader-elect=false", "--node-monitor-grace-period", "16s",
            "--node-monitor-period", "2s", "--profiling=false",
            "--horizontal-pod-autoscaler-sync-period", "5s",
            "--horizontal-pod-autoscaler-cpu-initialization-period", "15s",
            "--horizontal-pod-autoscaler-downscale-stabilization", "20s",
        ]  # fmt: skip

    def healthy(self) -> bool:
        return ports.answers(10257)


@dataclass(frozen=True, kw_only=True)
class Scheduler(Part):
    """The scheduler, as it comes."""

    name: ClassVar[str] = "kube-scheduler"

    def command(self) -> list[str]:
        config = self.pki.kubeconfig("scheduler", API, "system:kube-scheduler")
        return [
            self.program, "--kubeconfig", str(config), "--authentication-kubeconfig", str(config),
            "--authorization-kubeconfig", str(config), "--bind-address", "127.0.0.1", "--leader-elect=false",
        ]  # fmt: skip

    def healthy(self) -> bool:
        return ports.answers(10259)


@dataclass(frozen=True, kw_only=True)
class Proxy(Part):
    """Services' addresses, for pods and for this machine alike."""

    name: ClassVar[str] = "kube-proxy"

    def command(self) -> list[str]:
        config = self.pki.kubeconfig("proxy", API, "system:kube-proxy", ["system:node-proxier"])
        return [
            self.program, "--kubeconfig", str(config), "--proxy-mode", "nftables", "--cluster-cidr", PODS,
            "--conntrack-max-per-core", "0", "--conntrack-tcp-timeout-established", "0",
            "--conntrack-tcp-timeout-close-wait", "0", "--healthz-bind-address", "127.0.0.1:10256",
            "--metrics-bind-address", "127.0.0.1:10249", "--hostname-override", NODES[0].name,
        ]  # fmt: skip

    def healthy(self) -> bool:
        return answer("http://127.0.0.1:10256/livez") is not None


_CONTAINERD = """\
version = 2
root = "{folder}/root"
state = "{run}/state"
[grpc]
  address = "{run}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/registries"
"""


@dataclass(frozen=True, kw_only=True)
class Containerd(Part):
    """A node's container runtime and its network."""

    name: ClassVar[str] = "containerd"

    run: Path  # short, for sockets
    bridge: str
    subnet: str

    @property
    def socket(self) -> Path:
        """Where kubelet finds it."""
        return self.run / "containerd.sock"

    def prepare(self) -> None:
        super().prepare()
        self.run.mkdir(parents=True, exist_ok=True)
        text = _CONTAINERD.format(folder=self.folder, run=self.run, pause=PAUSE, cni=CNI)
        (self.folder / "config.toml").write_text(text)
        hosts = self.folder / "registries" / REGISTRY / "hosts.toml"
        hosts.parent.mkdir(parents=True, exist_ok=True)
        hosts.write_text(f'server = "http://{REGISTRY}"\n[host."http://{REGISTRY}"]\n')
        network = {
            "cniVersion": "1.0.0", "name": self.bridge,
            "plugins": [
                {
                    "type": "bridge", "bridge": self.bridge, "isGateway": True, "ipMasq": False, "hairpinMode": True,
                    "ipam": {
                        "type": "host-local", "ranges": [[{"subnet": self.subnet}]], "routes": [{"dst": "0.0.0.0/0"}],
                        "dataDir": str(self.run / "addresses"),
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }  # fmt: skip
        (self.folder / "cni").mkdir(exist_ok=True)
        (self.folder / "cni" / "10-bridge.conflist").write_text(json.dumps(network, indent=1))

    def command(self) -> list[str]:
        return [self.program, "--config", str(self.folder / "config.toml"), "--log-level", "warn"]

    def healthy(self) -> bool:
        if not self.socket.exists():
            return False
        done = subprocess.run(["ctr", "-a", str(self.socket), "version"], capture_output=True, check=False)
        return done.returncode == 0


@dataclass(frozen=True, kw_only=True)
class Kubelet(Part):
    """A node."""

    name: ClassVar[str] = "kubelet"

    node: str
    containerd: Containerd

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "resolv.conf").write_text(f"nameserver {MASTER}\n")
        body = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "address": self.host, "healthzBindAddress": self.host, "readOnlyPort": 0,
            "authentication": {
                "anonymous": {"enabled": False}, "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.pki.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{self.containerd.socket}",
            "cgroupDriver": "cgroupfs", "cgroupsPerQOS": False, "enforceNodeAllocatable": [], "failSwapOn": False,
            "failCgroupV1": False, "clusterDNS": [DNS_SERVICE], "clusterDomain": DOMAIN,
            # Their own each: one would take the other's logs for those of pods that have gone.
            "podLogsDir": str(self.folder / "logs"),
            "resolvConf": str(self.folder / "resolv.conf"), "serializeImagePulls": False, "maxPods": 200,
            "nodeStatusUpdateFrequency": "4s", "nodeLeaseDurationSeconds": 8,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            # Without cgroups per QoS, 1.34's kubelet panics when it asks whether a pod that has gone was resized.
            "featureGates": {"InPlacePodVerticalScaling": False},
            # Else it adds the same rules each minute, for it does not find them here, and each packet goes through all.
            "makeIPTablesUtilChains": False,
            "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        }  # fmt: skip
        (self.folder / "config.json").write_text(json.dumps(body, indent=1))

    def command(self) -> list[str]:
        user = f"system:node:{self.node}"
        config = self.pki.kubeconfig(f"kubelet-{self.node}", API, user, ["system:nodes"])
        return [
            self.program, "--kubeconfig", str(config), "--config", str(self.folder / "config.json"),
            "--root-dir", str(self.folder / "root"), "--hostname-override", self.node, "--node-ip", self.host,
            "--cert-dir", str(self.folder / "pki"),
        ]  # fmt: skip

    def healthy(self) -> bool:
        return answer(f"http://{self.host}:10248/healthz") == "ok"


_COREFILE = """\
.:53 {{
  bind {host}
  errors
  kubernetes {domain} in-addr.arpa {{
    kubeconfig {config}
    ttl 5
  }}
  cache 5
}}
"""


@dataclass(frozen=True, kw_only=True)
class Dns(Part):
    """Services' names."""

    name: ClassVar[str] = "coredns"

    def prepare(self) -> None:
        super().prepare()
        config = self.pki.kubeconfig("dns", API, "system:coredns")
        text = _COREFILE.format(host=self.host, domain=DOMAIN, config=config)
        (self.folder / "Corefile").write_text(text)

    def command(self) -> list[str]:
        return [self.program, "-conf", str(self.folder / "Corefile")]

    def healthy(self) -> bool:
        return ports.answers(53, self.host)


_REGISTRY = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}
http: {{addr: "{address}"}}
"""


@dataclass(frozen=True, kw_only=True)
class Registry(Part):
    """Where images are pushed to and pulled from."""

    name: ClassVar[str] = "registry"

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "config.yml").write_text(_REGISTRY.format(folder=self.folder, address=REGISTRY))

    def command(self) -> list[str]:
        return [self.program, str(self.folder / "config.yml")]

    def environment(self) -> dict[str, str]:
        """It would tell of spans that nobody collects."""
        return {"OTEL_TRACES_EXPORTER": "none"}

    def healthy(self) -> bool:
        return answer(f"http://{REGISTRY}/v2/") is not None
