"""What a profile says about pods of steps: where they run, what they get, and what a YAML may ask for."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field

from tradewind_runtime.contract.base import ConnectionId, Frozen
from tradewind_runtime.contract.resources import LABEL_KEY, LABEL_VALUE, Held, Resources, Selector, Toleration

USER = 50000  # the images' own
GPU = "nvidia.com/gpu"
#: By which NVIDIA's feature discovery tells what a node has.
GPU_LABEL = "nvidia.com/gpu.product"


class Placement(Frozen):
    """Nodes: by their labels, and in spite of their taints."""

    selector: Selector = Field(default_factory=dict, description="Labels that such a node has.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints of such a node.")


class GpuKind(Placement):
    """Nodes with GPUs of one kind."""

    resource: str = Field(GPU, pattern=LABEL_KEY, description="What a pod asks for to get one.")


class PodSettings(Frozen):
    """What the profile says about pods of steps."""

    connection: ConnectionId | None = Field(
        None, description="Airflow's connection of the cluster; without one, the cluster that Airflow runs in."
    )
    namespace: str = Field("tradewind", description="Where pods run.")
    service_account: str = Field("tradewind-{pipeline}", description="Of a pod; {pipeline} is filled in.")
    user: int | None = Field(
        USER, gt=0, description="User and group of a pod's process; null: the cluster assigns them."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="Kubernetes' own."
    )
    image_pull_secrets: tuple[str, ...] = Field((), description="Secrets by which images are pulled.")
    pending_timeout: int = Field(600, gt=0, description="Seconds that a pod may wait for a node.")
    autoscaled: bool = Field(
        False, description="Nodes may come that are not there now: a pod that fits on none waits for pending_timeout."
    )
    disruptions: int = Field(
        20, ge=0, description="How often a step may lose its node to others before that counts as a failure."
    )
    grace: int = Field(30, ge=0, description="Seconds between SIGTERM and SIGKILL.")
    node_lost_after: int = Field(
        10, ge=0, description="Seconds that a pod is waited for whose node does not answer; Kubernetes' own are 300."
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels that the node of any pod must have."
    )
    resources: dict[str, Resources] = Field(
        default_factory=dict, description="By step kind, where the YAML asks for nothing."
    )
    scratch: str = Field("10Gi", pattern=r"^\d+(Mi|Gi)$", description="The most that a step may write to its own disk.")
    secrets: dict[str, Held] = Field(
        default_factory=dict,
        description="Connection id → Secret/key that holds it, such as kafka_default: connections/kafka.",
    )
    gpu_kinds: dict[Annotated[str, Field(pattern=LABEL_VALUE, min_length=1)], GpuKind] = Field(
        default_factory=dict,
        description=f"Kinds of GPU that there are; without any, a kind is a value of the node's label {GPU_LABEL}.",
    )
    spot: Placement | None = Field(None, description="Nodes that are cheap and may go at any time, if there are any.")
    images: tuple[str, ...] = Field(
        (), description="What an image that a YAML names begins with, such as registry.example.com/ml/."
    )
    env_secrets: tuple[str, ...] = Field(
        (), description="Secrets that a YAML may take variables from, such as team-a-*; never those of connections."
    )
    claims: tuple[str, ...] = Field((), description="PersistentVolumeClaims that a YAML may mount, such as data-*.")
    config_maps: tuple[str, ...] = Field((), description="ConfigMaps that a YAML may mount, such as data-*.")
    pod_override: bool = Field(False, description="Whether a YAML may lay a part of a pod's spec over the one made.")

    def allows_image(self, image: str) -> bool:
        """Whether a YAML may name it: a whole part of its name is one of the profile's."""
        return any(
            image.startswith(one if one.endswith("/") else (f"{one}/", f"{one}:", f"{one}@")) for one in self.images
        )

    def allows_secret(self, name: str) -> bool:
        """Whether a YAML may take a variable from it."""
        return name not in self.connections_in and _matches(name, self.env_secrets)

    def allows_claim(self, name: str) -> bool:
        """Whether a YAML may mount it."""
        return _matches(name, self.claims)

    def allows_config_map(self, name: str) -> bool:
        """Whether a YAML may mount it."""
        return _matches(name, self.config_maps)

    @property
    def connections_in(self) -> frozenset[str]:
        """Secrets that hold connections: a step gets those that it names, and no other."""
        return frozenset(held.partition("/")[0] for held in self.secrets.values())


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
