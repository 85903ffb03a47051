"""`resources:`: what a step asks of the place where it runs. A closed list, of which a profile says what it has."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tradewind_runtime.contract.base import Frozen

SIZE = r"^[1-9][0-9]*(Mi|Gi)$"
MIG = r"^([1-7]c\.)?[1-7]g\.[1-9][0-9]*gb(\.me)?$"
#: Of an object of Kubernetes, and of a label.
OBJECT = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
LABEL_KEY = r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE = r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$"
#: Where a Secret holds something: NAME/KEY.
HELD = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9._-]+$"
ENV = r"^[A-Za-z_][A-Za-z0-9_]*$"
_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
IMAGE = (
    rf"^([a-z0-9][a-z0-9.-]*(:[0-9]+)?/)?{_PART}(/{_PART})*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)

#: Variables by which a pod would become another one than the plan says.
_OUR_VARIABLES = re.compile(
    r"PATH|HOME|TMPDIR|IFS|BASH_ENV|ENV|GCONV_PATH|_JAVA_OPTIONS|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS"
    r"|(_?AIRFLOW|TRADEWIND_|LD_|PYTHON|KUBERNETES_|NVIDIA_|PYSPARK_|SPARK_|OMP_NUM_THREADS).*"
)
#: Folders of a pod that are its image's, Kubernetes' or ours.
_OUR_FOLDERS = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/opt/airflow", "/opt/tradewind", "/proc", "/root",
    "/run", "/sbin", "/scratch", "/sys", "/tmp", "/usr", "/var",  # noqa: S108
)  # fmt: skip


def checked_variable(name: str) -> str:
    """A name that a step's environment may have from its YAML.

    Raises:
        ValueError: where it is ours, or says how a program is loaded.
    """
    if _OUR_VARIABLES.fullmatch(name):
        msg = f"{name} is not for a YAML to set: it decides what runs, or is set by Tradewind"
        raise ValueError(msg)
    return name


def checked_folder(path: str) -> str:
    """A path that a volume may be mounted at.

    Raises:
        ValueError: where it hides or lies in a folder of the image's, Kubernetes' or ours, or is not plain.
    """
    parts = path.split("/")
    if parts[0] or not all(parts[1:]) or {".", ".."} & set(parts) or ":" in path:
        msg = f"{path!r} is not a path such as /data: absolute, without . and .., no slash at the end"
        raise ValueError(msg)
    for ours in _OUR_FOLDERS:
        if f"{path}/".startswith(f"{ours}/") or f"{ours}/".startswith(f"{path}/"):
            msg = f"{path!r} hides or lies in {ours}, which is the image's own; take a path such as /data"
            raise ValueError(msg)
    return path


def _pinned(image: str) -> str:
    name = image.rpartition("/")[2]
    if ":" not in name or image.endswith(":latest"):
        msg = f"{image!r} is whatever it was pushed last: name a digest, or a tag that is not latest"
        raise ValueError(msg)
    return image


def _not_systems(name: str) -> str:
    if name.startswith("system-"):
        msg = f"{name!r} is for Kubernetes' own pods"
        raise ValueError(msg)
    return name


def mebibytes(size: str) -> int:
    """`512Mi` or `4Gi` as a number."""
    return int(size[:-2]) * (1024 if size.endswith("Gi") else 1)


Size = Annotated[str, Field(pattern=SIZE)]
ObjectName = Annotated[str, Field(pattern=OBJECT)]
Held = Annotated[str, Field(pattern=HELD)]
Selector = dict[Annotated[str, Field(pattern=LABEL_KEY)], Annotated[str, Field(pattern=LABEL_VALUE)]]
Image = Annotated[str, Field(pattern=IMAGE), AfterValidator(_pinned)]
Variable = Annotated[str, Field(pattern=ENV), AfterValidator(checked_variable)]
Folder = Annotated[str, AfterValidator(checked_folder)]
Priority = Annotated[str, Field(pattern=OBJECT), AfterValidator(_not_systems)]


class Gpu(Frozen):
    """GPUs of one kind, whole or a part of one. A plain number is the count."""

    count: int = Field(1, ge=0, le=64, description="How many.")
    kind: str | None = Field(
        None, pattern=LABEL_VALUE, min_length=1, description="A kind of the profile's, such as H100; any if not given."
    )
    mig: str | None = Field(
        None, pattern=MIG, description="A part of a GPU as NVIDIA names it, such as 1g.10gb; whole ones if not given."
    )

    @model_validator(mode="after")
    def _some(self) -> Gpu:
        if not self.count and (self.kind or self.mig):
            msg = "a kind of GPU, and a count of 0"
            raise ValueError(msg)
        return self


class Toleration(Frozen):
    """A taint of nodes that does not keep a pod away, in Kubernetes' words."""

    key: str = Field(pattern=LABEL_KEY, description="The taint's key.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="Exists: whatever its value.")
    value: str | None = Field(None, pattern=LABEL_VALUE, description="The taint's value, where it is compared.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="The taint's effect; each if not given."
    )
    seconds: int | None = Field(
        None, ge=0, alias="tolerationSeconds", description="How long a NoExecute is tolerated; for ever if not given."
    )

    @model_validator(mode="after")
    def _as_kubernetes_has_it(self) -> Toleration:
        if self.operator == "Exists" and self.value:
            msg = "operator: Exists takes no value"
            raise ValueError(msg)
        if self.seconds is not None and self.effect != "NoExecute":
            msg = "tolerationSeconds goes with effect: NoExecute"
            raise ValueError(msg)
        return self


class Volume(Frozen):
    """A folder that a pod finds besides its own: a claim, or the files of a ConfigMap."""

    claim: ObjectName | None = Field(None, description="A PersistentVolumeClaim that the profile allows.")
    config_map: ObjectName | None = Field(None, description="A ConfigMap that the profile allows.")
    path: Folder = Field(description="Where the step finds it, such as /data; never a folder of the image's or ours.")
    read_only: bool = Field(True, description="Whether it may only be read; what a step makes belongs into the lake.")

    @model_validator(mode="after")
    def _one(self) -> Volume:
        if (self.claim is None) == (self.config_map is None):
            msg = "a volume has either claim or config_map"
            raise ValueError(msg)
        if self.config_map and not self.read_only:
            msg = "a ConfigMap can only be read"
            raise ValueError(msg)
        return self


def _counted(value: Any) -> Any:
    return {"count": value} if isinstance(value, int | float | str) and not isinstance(value, bool) else value


class Resources(Frozen):
    """What a step asks for. A process of this machine takes what there is; a pod gets it all."""

    cpu: float = Field(1, gt=0, le=1024, description="Cores.")
    memory: Size = Field("2Gi", description="Such as 512Mi or 4Gi.")
    gpu: Annotated[Gpu, BeforeValidator(_counted, json_schema_input_type=Gpu | int)] = Field(
        Gpu(count=0), description="GPUs: how many, or {count, kind, mig}."
    )
    shm: Size | None = Field(
        None, description="Shared memory at /dev/shm, such as a loader of batches wants; a part of memory."
    )
    ephemeral: Size | None = Field(
        None, description="Disk of its own, at /scratch; what the profile gives if not given."
    )
    spot: bool = Field(False, description="Nodes that are cheap and may go at any time, as the profile has them.")
    node_selector: Selector = Field(default_factory=dict, description="Labels that its node must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints of nodes that do not keep it away.")
    priority: Priority | None = Field(None, description="A PriorityClass of the cluster.")
    image: Image | None = Field(
        None, description="An image in place of its environment's, from where the profile allows; not :latest."
    )
    env: dict[Variable, Held] = Field(
        default_factory=dict, description="Variable → SECRET/KEY that holds it, of Secrets that the profile allows."
    )
    volumes: tuple[Volume, ...] = Field((), description="Claims and ConfigMaps that the profile allows.")
    after_oom: float | None = Field(
        None, gt=1, le=8, description="A try after one that ran out of memory gets that much more, each time: 1.5."
    )
    pod_override: dict[str, Any] | None = Field(
        None, description="A part of a pod's spec, merged over the one that is made; where the profile allows it."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Resources:
        if self.shm and mebibytes(self.shm) > mebibytes(self.memory):
            msg = f"shm is a part of memory, and {self.shm} is more than {self.memory}"
            raise ValueError(msg)
        paths = [volume.path for volume in self.volumes]
        if twice := sorted({path for path in paths if paths.count(path) > 1}):
            msg = f"two volumes at {twice[0]}"
            raise ValueError(msg)
        return self


def grown(resources: Resources, times: int) -> Resources:
    """What a try asks for after that many that ran out of memory."""
    if resources.after_oom is None or times < 1:
        return resources
    more = math.ceil(mebibytes(resources.memory) * resources.after_oom**times)
    return resources.model_copy(update={"memory": f"{more}Mi"})
