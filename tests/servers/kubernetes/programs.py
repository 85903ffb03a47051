"""A cluster's programs, from source: Kubernetes with DNS and a registry in one binary, and small ones beside it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from tradewind.dev.files import whole
from tradewind_runtime import caches

HERE = Path(__file__).parent
#: What `apt-get install` brings of it.
DEBIAN = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "iptables": "iptables",
    "ipset": "ipset",
    "ip": "iproute2",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
}
HELM = "v3.19.2"
CNI = Path("/usr/lib/cni")  # containernetworking-plugins
_VERSION = "k8s.io/component-base/version"
_LINK = f"-s -w -X {_VERSION}.gitVersion=v1.34.4 -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=34"
PARTS = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "coredns",
    "registry",
)  # fmt: skip


#: Programs that are others' as they are: their folders name but the version.
TOOLS = {
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "kserve": "github.com/kserve/kserve/cmd/manager",
    "metrics": "sigs.k8s.io/metrics-server/cmd/metrics-server",
}


def install() -> None:
    """Debian's packages, where they are missing."""
    missing = [package for program, package in DEBIAN.items() if not shutil.which(program)]
    if not CNI.is_dir():
        missing.append("containernetworking-plugins")
    if not missing:
        return
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet)
    wanted = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *missing]
    subprocess.run(wanted, check=True, env=quiet, stdout=subprocess.DEVNULL)


def program(name: str) -> Path:
    """The binary of a folder here, e.g. `node` or `kserve`, built once for each state of its source."""
    source = HERE / name
    read = [_LINK.encode(), *(path.read_bytes() for path in sorted(source.iterdir()))]
    state = hashlib.sha256(b"".join(read)).hexdigest()[:16]
    made = caches.folder() / "cluster" / f"{name}-{state}" / name
    if not made.is_file():
        made.parent.mkdir(parents=True, exist_ok=True)
        print(f"building {name} from source, once", flush=True)
        with whole(made) as new:
            command = ["go", "build", "-trimpath", "-ldflags", _LINK, "-o", str(new), TOOLS.get(name, ".")]
            subprocess.run(command, check=True, cwd=source, env={**os.environ, "CGO_ENABLED": "0"})
    return made


def source(module: str, *, folder: Path | None = None) -> Path:
    """A Go module's files: of PATH@VERSION, or of PATH in the version that a folder with a `go.mod` names."""
    command = ["go", "mod", "download", "-json", module]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["Dir"])


def helm() -> Path:
    """Helm itself, built once."""
    made = caches.folder() / "cluster" / f"helm-{HELM}" / "helm"
    if not made.is_file():
        print("building helm from source, once", flush=True)
        command = ["go", "install", "-trimpath", "-ldflags", "-s -w", f"helm.sh/helm/v3/cmd/helm@{HELM}"]
        subprocess.run(command, check=True, env={**os.environ, "CGO_ENABLED": "0", "GOBIN": str(made.parent)})
    return made


def parts(folder: Path) -> dict[str, str]:
    """Each of Kubernetes' parts as a name for the one binary."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(program("node"))
    return {name: str(folder / name) for name in PARTS}
