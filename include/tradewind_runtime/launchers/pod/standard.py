"""Kubernetes' restricted Pod Security Standard, and what we ask besides, of a pod's spec: each rule that it breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Spec = dict[str, Any]

#: The standard's, without those that bring Secrets (csi) or copies of claims (ephemeral) which nobody names.
_VOLUMES = frozenset({"configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret"})
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    }
)  # fmt: skip
_PROFILES = ("RuntimeDefault", "Localhost")
_SELINUX = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_HANDLERS = ("livenessProbe", "readinessProbe", "startupProbe")


def containers(spec: Spec) -> list[Spec]:
    """All of a pod, the step's first."""
    return [*spec["containers"], *spec.get("initContainers", [])]


def misshapen(spec: Spec) -> Iterator[str]:
    """Parts that are not of the kind that Kubernetes has there, so that nothing can be said of them."""
    yield from _of_kind(spec, ("securityContext", "nodeSelector"), ("containers", "initContainers", "volumes",
        "tolerations", "imagePullSecrets"))  # fmt: skip
    for key in ("containers", "initContainers"):
        for one in spec.get(key) if isinstance(spec.get(key), list) else ():  # type: ignore[union-attr]
            if isinstance(one, dict):
                yield from _of_kind(one, ("securityContext", "resources", "lifecycle", *_HANDLERS), ("env", "envFrom",
                    "volumeMounts", "ports"))  # fmt: skip
    for key in ("containers", "volumes"):
        if not spec.get(key):
            yield f"{key} are missing"


def _of_kind(part: Spec, mappings: tuple[str, ...], lists: tuple[str, ...]) -> Iterator[str]:
    for key in mappings:
        if not isinstance(part.get(key, {}), dict):
            yield f"{key} is not a mapping"
    for key in lists:
        value = part.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            yield f"{key} is not a list of mappings"


def broken(spec: Spec) -> Iterator[str]:
    """Every rule that a pod's spec breaks; its parts are of the right kind."""
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key, False) is not False:
            yield f"{key} is for nodes' own pods"
    for volume in spec["volumes"]:
        yield from (f"a volume of {kind}" for kind in sorted(set(volume) - {"name"} - _VOLUMES))
        if "serviceAccountToken" in str(volume.get("projected")):
            yield "a volume of a service account's token"
    security = spec.get("securityContext", {})
    if security.get("runAsNonRoot") is not True:
        yield "runAsNonRoot must be true"
    if _get(security.get("seccompProfile"), "type") not in _PROFILES:
        yield "seccompProfile must be RuntimeDefault or Localhost"
    yield from _security(security)
    sysctls = security.get("sysctls", [])
    if not isinstance(sysctls, list) or not {str(_get(one, "name")) for one in sysctls} <= _SYSCTLS:
        yield "a sysctl that is not safe"
    for container in containers(spec):
        for reason in _container(container):
            yield f"container {container.get('name')}: {reason}"


def _container(container: Spec) -> Iterator[str]:
    security = container.get("securityContext", {})
    yield from _security(security)
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation must be false"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem must be true"
    if security.get("privileged", False) is not False:
        yield "privileged"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield "capabilities must be {drop: [ALL]}"
    if security.get("procMount", "Default") != "Default":
        yield "procMount must be Default"
    if any(port.get("hostPort", 0) != 0 for port in container.get("ports", [])):
        yield "a port of the node"
    if _names_host([container.get(key) for key in (*_HANDLERS, "lifecycle")]):
        yield "a probe of another host"
    limits = container.get("resources", {}).get("limits")
    if not isinstance(limits, dict) or not {"cpu", "memory"} <= set(limits):
        yield "resources.limits must have cpu and memory"


def _security(security: Spec) -> Iterator[str]:
    """What holds for the pod's and for a container's alike."""
    if security.get("runAsNonRoot", True) is not True:
        yield "runAsNonRoot must be true"
    user = security.get("runAsUser", 1)
    if not isinstance(user, int) or isinstance(user, bool) or user < 1:
        yield "runAsUser must be above 0"
    for key in ("seccompProfile", "appArmorProfile"):
        if key in security and _get(security[key], "type") not in _PROFILES:
            yield f"{key} must be RuntimeDefault or Localhost"
    linux = security.get("seLinuxOptions", {})
    if not isinstance(linux, dict) or linux.get("user") or linux.get("role") or linux.get("type", "") not in _SELINUX:
        yield "seLinuxOptions of another user, role or type"
    if security.get("windowsOptions") is not None:
        yield "windowsOptions on Linux"


def _names_host(node: Any) -> bool:
    if isinstance(node, list):
        return any(map(_names_host, node))
    return isinstance(node, dict) and (bool(node.get("host")) or any(map(_names_host, node.values())))


def _get(part: Any, key: str) -> Any:
    return part.get(key) if isinstance(part, dict) else None
