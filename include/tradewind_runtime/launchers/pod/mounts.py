"""What a step finds on its disk: folders of its own, which end with the pod, and the volumes that it asks for."""

from __future__ import annotations

from typing import Any

from tradewind_runtime.contract.resources import Resources, Volume
from tradewind_runtime.launchers.pod.settings import PodSettings

Parts = list[dict[str, Any]]


def mounted(wanted: Resources, settings: PodSettings) -> tuple[Parts, Parts]:
    """A pod's volumes, and its container's mounts of them."""
    volumes: Parts = [
        {"name": "tmp", "emptyDir": {"sizeLimit": settings.scratch}},
        {"name": "scratch", "emptyDir": {"sizeLimit": wanted.ephemeral or settings.scratch}},
    ]
    mounts: Parts = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "scratch", "mountPath": "/scratch"}]  # noqa: S108
    if wanted.shm:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": wanted.shm}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    for index, volume in enumerate(wanted.volumes):
        name = f"volume-{index}"
        volumes.append({"name": name, **_source(volume)})
        mounts.append({"name": name, "mountPath": volume.path, "readOnly": volume.read_only})
    return volumes, mounts


def _source(volume: Volume) -> dict[str, Any]:
    if volume.config_map:
        return {"configMap": {"name": volume.config_map}}
    return {"persistentVolumeClaim": {"claimName": volume.claim, "readOnly": volume.read_only}}
