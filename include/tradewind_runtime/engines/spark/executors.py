"""Executors as pods: this process's pod is the driver, and theirs are owned by it, so that they go when it goes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.resources import Size, mebibytes
from tradewind_runtime.lake import Lake
from tradewind_runtime.launchers.pod.executors import CONTAINER, SCRATCH, TEMPLATE
from tradewind_runtime.launchers.pod.names import ADDRESS, POD

MASTER = "k8s://https://kubernetes.default.svc"
#: Fixed, so that a network policy can name them.
DRIVER_PORT, BLOCKS_PORT = 7078, 7079
#: What a JVM and its Python workers need beside the heap.
_BESIDE, _LEAST_BESIDE = 0.3, 384


class Executors(Frozen):
    """`settings.spark.executors` of a profile."""

    min: int = Field(1, ge=0, description="Executors that are kept, whatever there is to do.")
    max: int = Field(2, ge=1, description="The most that there are; Spark asks for them as tasks wait.")
    cpu: float = Field(1, gt=0, le=256, description="Cores of one.")
    memory: Size = Field("2Gi", description="Memory of one, all in all: heap, JVM and Python workers.")

    @model_validator(mode="after")
    def _consistent(self) -> Executors:
        if self.min > self.max:
            msg = f"min: {self.min} is more than max: {self.max}"
            raise ValueError(msg)
        if mebibytes(self.memory) < 1024:
            msg = f"memory: {self.memory} is less than Spark starts with; 1Gi is"
            raise ValueError(msg)
        return self

    @property
    def cores(self) -> int:
        """Tasks that one does at a time."""
        return max(1, int(self.cpu))

    @property
    def heap(self) -> int:
        """Of the memory, the JVM's heap, in MiB."""
        return mebibytes(self.memory) - self.beside

    @property
    def beside(self) -> int:
        """Of the memory, what is not heap, in MiB."""
        return max(_LEAST_BESIDE, int(mebibytes(self.memory) * _BESIDE))


def asked(settings: Mapping[str, Any]) -> bool:
    """Whether executors are pods."""
    return str(settings.get("master", "")).startswith("k8s://")


def options(settings: Mapping[str, Any], scratch: Path, lake: Lake | None) -> dict[str, str]:
    """Spark's options of a driver in a pod.

    Raises:
        StepError: TW546 where this is no pod that may have executors, or the settings are not such.
    """
    asked_for, template = wanted(settings), os.environ.get(TEMPLATE)
    if template is None:
        raise _refused("executors are pods of a driver in a pod", "runners: {transform: kubernetes}")
    if lake is None or not lake.root.startswith("s3://"):
        raise _refused("executors in pods read and write a lake on S3", "lake: {uri: s3://…}")
    file = scratch / "executor.json"
    file.write_text(template)
    pod = json.loads(template)
    container = pod["spec"]["containers"][0]
    name, address = os.environ[POD], os.environ[ADDRESS]
    return {
        "spark.kubernetes.namespace": pod["metadata"]["namespace"],
        "spark.kubernetes.driver.pod.name": name,
        "spark.kubernetes.container.image": container["image"],
        "spark.kubernetes.container.image.pullPolicy": container["imagePullPolicy"],
        "spark.kubernetes.executor.podTemplateFile": file.as_uri(),
        "spark.kubernetes.executor.podTemplateContainerName": CONTAINER,
        "spark.kubernetes.executor.podNamePrefix": _prefix(name),
        # The fewest rights: pods alone.
        "spark.kubernetes.executor.disableConfigMap": "true",
        "spark.kubernetes.driver.ownPersistentVolumeClaim": "false",
        "spark.kubernetes.driver.reusePersistentVolumeClaim": "false",
        "spark.kubernetes.driver.service.deleteOnTermination": "false",
        "spark.driver.host": address,
        "spark.driver.bindAddress": address,
        "spark.driver.port": str(DRIVER_PORT),
        "spark.driver.blockManager.port": str(BLOCKS_PORT),
        "spark.blockManager.port": str(BLOCKS_PORT),
        # The lake's key goes from driver to executors.
        "spark.authenticate": "true",
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.cipher": "AES/GCM/NoPadding",
        "spark.executor.syncLogLevel.enabled": "true",
        "spark.executor.extraJavaOptions": f"-Djava.io.tmpdir={SCRATCH} -Duser.timezone=UTC",
        "spark.sql.shuffle.partitions": str(settings.get("shuffle_partitions", 2 * asked_for.max)),
        "spark.kubernetes.executor.request.cores": f"{asked_for.cpu:.10g}",
        "spark.kubernetes.executor.limit.cores": f"{asked_for.cpu:.10g}",
        **amounts(asked_for),
    }


def wanted(settings: Mapping[str, Any]) -> Executors:
    """What a profile asks for.

    Raises:
        StepError: TW546 where it is not such.
    """
    try:
        return Executors.model_validate(settings.get("executors", {}))
    except ValidationError as error:
        first = error.errors()[0]
        said = ": ".join(map(str, (*first["loc"], first["msg"])))
        raise _refused(
            f"settings.spark.executors are not such: {said}", "executors: {min: 1, max: 4, cpu: 1, memory: 2Gi}"
        ) from error


def amounts(given: Executors) -> dict[str, str]:
    """How many there are, and what each has. Without a service for shuffles, who has some stays while they are used."""
    found = {
        "spark.executor.cores": str(given.cores),
        "spark.executor.memory": f"{given.heap}m",
        "spark.executor.memoryOverhead": f"{given.beside}m",
    }
    if given.min == given.max:
        return found | {"spark.executor.instances": str(given.max)}
    return found | {
        "spark.executor.instances": str(given.min),
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.minExecutors": str(given.min),
        "spark.dynamicAllocation.maxExecutors": str(given.max),
    }


def _prefix(pod: str) -> str:
    """Of executors' names: their driver's, cut to what Spark takes, with the end that tells it from others."""
    head, _, unique = pod.rpartition("-")
    return f"{head[:36].rstrip('-')}-{unique}"


def _refused(message: str, fix: str) -> StepError:
    return StepError("TW546", message, retryable=False, fix=fix, path="settings.spark")
