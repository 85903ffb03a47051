"""A real Kubernetes on this machine: two nodes, DNS, services, a registry; root, and Debian's packages.

Each node has a container runtime of its own, so that one can be lost while the other goes on. All of it listens on an
address that only this machine has.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from tests.servers.authority import Authority
from tests.servers.kubernetes import extras, parts, programs
from tests.servers.kubernetes.parts import NODES, Node

from tradewind.dev import processes
from tradewind.dev.running import Running, start
from tradewind.dev.servers.base import Server

RUN = Path("/run/tradewind")
LOCK = Path("/run/lock/tradewind-cluster")
OWN = "tw-nodes"  # an interface without a wire


@dataclass
class Cluster:
    """A cluster that is up."""

    folder: Path
    kubeconfig: Path
    programs: dict[str, str]
    pki: Authority
    running: dict[str, Running[Server]] = field(default_factory=dict)

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        """What it prints.

        Raises:
            AssertionError: where it fails, with what it says.
        """
        done = subprocess.run(
            [self.programs["kubectl"], "--kubeconfig", str(self.kubeconfig), *arguments],
            input=input, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """Objects as JSON."""
        return dict(json.loads(self.kubectl("get", *arguments, "--output", "json")))

    def apply(self, *objects: dict[str, Any], options: Iterable[str] = ()) -> str:
        """Make or change objects; what is printed."""
        body = {"apiVersion": "v1", "kind": "List", "items": objects}
        return self.kubectl("apply", "--filename", "-", *options, input=json.dumps(body))

    @contextmanager
    def lent(self, namespace: str) -> Iterator[None]:
        """A namespace's name: whatever had it before has gone, and what has it now goes."""
        self.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=180s")
        try:
            yield
        finally:
            self.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")

    def until(self, true: Callable[[], object], what: str, *, seconds: float = 60) -> float:
        """Seconds until it is so."""
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}"
            time.sleep(0.2)
        return time.monotonic() - began

    def ready(self, node: str) -> bool:
        """Whether a node can have pods."""
        found = json.loads(self.kubectl("get", "node", node, "--output", "json", check=False) or "{}")
        conditions = found.get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def lose(self, node: Node) -> None:
        """A node goes without a word: its kubelet, its runtime and all that runs there."""
        for name in ("kubelet", "containerd"):
            self.running.pop(f"{name}-{node.name}").kill()
        _end_containers(RUN / node.name)

    def start_node(self, node: Node) -> None:
        """A node joins, or comes back."""
        place = {"folder": self.folder / node.name / "containerd", "pki": self.pki, "host": node.host}
        containerd = parts.Containerd(
            program="containerd", run=RUN / node.name, bridge=node.bridge, subnet=node.subnet, **place
        )
        self.running[f"containerd-{node.name}"] = start(containerd)
        _import_pause(containerd)
        kubelet = parts.Kubelet(
            program=self.programs["kubelet"], node=node.name, containerd=containerd,
            **{**place, "folder": self.folder / node.name / "kubelet"},
        )  # fmt: skip
        self.running[f"kubelet-{node.name}"] = start(kubelet)

    def stop(self) -> None:
        """End all of it, and what it has left on this machine: containers, mounts, interfaces, rules."""
        for running in reversed(self.running.values()):
            running.stop()
        tidy()


@contextmanager
def opened(folder: Path) -> Iterator[Cluster]:
    """A new cluster in a folder, whose path has no space (containerd's would not bear it)."""
    programs.install()
    pki = Authority(folder / "pki")
    cluster = Cluster(
        folder, pki.kubeconfig("admin", parts.API, "admin", ["system:masters"]), programs.parts(folder / "bin"), pki
    )
    with ExitStack() as stack:
        stack.enter_context(_alone())
        tidy()
        stack.callback(cluster.stop)
        _make_interface()
        _start_parts(cluster)
        for node in NODES:
            cluster.start_node(node)
        for node in NODES:
            cluster.until(partial(cluster.ready, node.name), f"{node.name} is ready")
        yield cluster


def joined(folder: Path) -> Cluster:
    """One that is up, kept by `python -m tests.servers.kubernetes FOLDER`; its nodes are not to be lost."""
    pki = Authority(folder / "own")
    return Cluster(folder, folder / "pki" / "admin.kubeconfig", programs.parts(folder / "bin"), pki)


@contextmanager
def _alone() -> Iterator[None]:
    """One at a time on a machine: each would take away the other's interface and containers as left over."""
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AssertionError("a cluster is up here already: join it by TEST_CLUSTER, its folder") from None
        yield


def _start_parts(cluster: Cluster) -> None:
    bins = cluster.programs | {"etcd": "etcd"}
    for kind in (parts.Registry, parts.Etcd, parts.ApiServer, parts.Manager, parts.Scheduler, parts.Proxy, parts.Dns):
        if kind is parts.Dns:
            _make_dns(cluster)  # refused, it would be seconds before it asks again
        server = kind(folder=cluster.folder / kind.name, program=bins[kind.name], pki=cluster.pki, host=parts.MASTER)
        cluster.running[kind.name] = start(server)


def _make_dns(cluster: Cluster) -> None:
    """A service that leads to the DNS server beside the cluster; and what that server may read."""
    named = {"name": "dns", "namespace": "kube-system"}
    watched = {"apiGroups": [""], "resources": ["services", "namespaces", "pods"], "verbs": ["list", "watch"]}
    slices = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
    listening = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "dns"}
    subjects = [{"kind": "User", "name": "system:coredns", "apiGroup": "rbac.authorization.k8s.io"}]
    rbac = "rbac.authorization.k8s.io/v1"
    cluster.apply(
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "dns"}, "rules": [watched, slices]},
        {"apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": {"name": "dns"}, "roleRef": role,
         "subjects": subjects},
        {"apiVersion": "v1", "kind": "Service", "metadata": named,
         "spec": {"clusterIP": parts.DNS_SERVICE, "ports": listening}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": named | {"labels": {"kubernetes.io/service-name": "dns"}},
         "endpoints": [{"addresses": [parts.MASTER]}], "ports": listening},
    )  # fmt: skip


def _make_interface() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _ip("link", "add", OWN, "type", "bridge")
    for node in NODES:
        _ip("address", "add", f"{node.host}/32", "dev", OWN)
    _ip("link", "set", OWN, "up")


def _import_pause(containerd: parts.Containerd) -> None:
    """The pause container's image: one static program."""
    with tempfile.TemporaryDirectory() as folder:
        layer, image = Path(folder) / "layer.tar", Path(folder) / "image.tar"
        with tarfile.open(layer, "w") as archive:
            archive.add(programs.program("pause"), "pause")
        digest = hashlib.sha256(layer.read_bytes()).hexdigest()
        config = {
            "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }  # fmt: skip
        (Path(folder) / "config.json").write_text(json.dumps(config))
        manifest = [{"Config": "config.json", "RepoTags": [parts.PAUSE], "Layers": ["layer.tar"]}]
        (Path(folder) / "manifest.json").write_text(json.dumps(manifest))
        with tarfile.open(image, "w") as archive:
            for name in ("config.json", "layer.tar", "manifest.json"):
                archive.add(Path(folder) / name, name)
        command = ["ctr", "-a", str(containerd.socket), "-n", "k8s.io", "images", "import", str(image)]
        subprocess.run(command, check=True, capture_output=True)


def tidy() -> None:
    """What a cluster that was killed has left on this machine."""
    for node in NODES:
        _end_containers(RUN / node.name)
        _ip("link", "delete", node.bridge, check=False)
    _ip("link", "delete", OWN, check=False)
    extras.untie_policies()
    for family in ("ip", "ip6"):
        subprocess.run(["nft", "delete", "table", family, "kube-proxy"], check=False, capture_output=True)
    shutil.rmtree(RUN, ignore_errors=True)


def _end_containers(run: Path) -> None:
    """The shims of a runtime and what they hold: they outlive it, as they should."""
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any("containerd-shim" in word for word in words[:1]) and str(run / "containerd.sock") in words:
            for one in processes.tree(process.pid):
                with suppress(psutil.NoSuchProcess):
                    one.kill()
    # The deepest first.
    for line in sorted(Path("/proc/mounts").read_text().splitlines(), key=len, reverse=True):
        target = line.split()[1].replace("\\040", " ")
        if target.startswith(str(run)) or f"/{run.name}/kubelet/root" in target:
            subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True)
