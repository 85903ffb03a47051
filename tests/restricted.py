"""Kubernetes' restricted Pod Security Standard, as assertions on a pod's spec."""

from __future__ import annotations

from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def assert_restricted(spec: dict[str, Any]) -> None:
    """All that the standard asks, and what we ask besides: no writable root, no token by default, limits."""
    pod = spec.get("securityContext") or {}
    assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
    assert pod.get("runAsNonRoot") is True
    assert pod.get("runAsUser", 1) != 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    for volume in spec.get("volumes") or []:
        assert set(volume) - {"name"} <= VOLUMES, volume
    for container in [*spec["containers"], *(spec.get("initContainers") or [])]:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["readOnlyRootFilesystem"] is True
        assert not own.get("privileged")
        assert not any(port.get("hostPort") for port in container.get("ports") or [])
        assert set(container["resources"]) == {"requests", "limits"}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        assert not container["image"].endswith(":latest")
        assert ":" in container["image"]
    assert spec["automountServiceAccountToken"] is False or spec["serviceAccountName"] != "default"
