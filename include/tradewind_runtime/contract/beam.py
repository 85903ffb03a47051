"""`settings.beam` of a profile: what runs a Beam pipeline, and its options."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from tradewind_runtime.contract.base import Frozen

Runner = Literal["direct", "flink", "spark", "dataflow"]
Option = str | bool | int | float | tuple[str, ...]

#: Without which a runner does not know where, or with what, to run.
_NEEDS: dict[Runner, tuple[str, ...]] = {
    "direct": (),
    "flink": ("job_endpoint",),
    "spark": ("job_endpoint",),
    "dataflow": ("project", "region", "temp_location", "sdk_container_image"),
}
#: What the step decides, or what ends with no table.
_OURS = {
    "runner", "direct_running_mode", "direct_num_workers", "job_name", "pickle_library", "save_main_session",
    "streaming", "dry_run", "template_location", "dataflow_job_file", "update",
}  # fmt: skip
#: Options go into the job's own description, which whoever may look at the job can read.
_SECRET = re.compile(r"secret|passw|token|access_key|private_key")
_LOGIN = re.compile(r"://[^/@\s]+:[^/@\s]+@")


class BeamSettings(Frozen):
    """How Beam pipelines run."""

    runner: Runner = Field("direct", description="`direct`: in the step's own process.")
    threads: int = Field(1, ge=1, le=256, description="Of `direct`.")
    options: dict[str, Option] = Field(default_factory=dict, description="Beam's own, by their names with underscores.")

    @model_validator(mode="after")
    def _fitting(self) -> BeamSettings:
        if ours := sorted(_OURS & set(self.options)):
            msg = f"options: {', '.join(ours)} is not for a profile to say"
            raise ValueError(msg)
        if secret := sorted(name for name, value in self.options.items() if _tells(name, value)):
            msg = f"options: {', '.join(secret)} would show a secret to whoever may look at the job"
            raise ValueError(msg)
        if missing := [name for name in _NEEDS[self.runner] if name not in self.options]:
            msg = f"options: the runner {self.runner} needs {', '.join(missing)}"
            raise ValueError(msg)
        if self.threads > 1 and self.runner != "direct":
            msg = f"threads: of direct alone; the runner {self.runner} has options of its own"
            raise ValueError(msg)
        return self

    @property
    def remote(self) -> bool:
        """Whether its workers are elsewhere than in the step's process."""
        return self.runner != "direct" and self.options.get("environment_type") != "LOOPBACK"


def _tells(name: str, value: Option) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return any(_SECRET.search(one.lower()) for one in (name, *map(str, values))) or any(
        _LOGIN.search(str(one)) for one in values
    )
