"""`defaults:`: what holds for every step, and what is different for some."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from tradewind_runtime.contract.base import Duration, Frozen
from tradewind_runtime.contract.resources import Resources

#: The step kinds that a YAML may set apart.
StepKind = Literal[
    "pin", "ingest", "check", "transform", "tune", "train", "evaluate", "register", "rollout", "score", "monitor",
    "maintain",
]  # fmt: skip


#: Kinds that a YAML does not tell apart: what it says of one block holds for all that the block becomes.
PARTS: dict[str, StepKind] = {
    "select": "rollout",
    "stage": "rollout",
    "promote": "rollout",
    "ingest_capture": "monitor",
    "request_retraining": "monitor",
}


class StepOverrides(Frozen):
    """What is different for one step kind."""

    retries: int | None = Field(None, ge=0, le=100, description="Tries after the first one.")
    retry_delay: Duration | None = Field(None, description="Wait before each retry.")
    timeout: Duration | None = Field(None, description="A try that takes longer is stopped.")
    resources: Resources | None = Field(None, description="What its process or pod asks for.")
    environment: str | None = Field(None, description="One of the profile's environments.")


class Defaults(Frozen):
    """What holds for every step."""

    retries: int = Field(2, ge=0, le=100, description="Tries after the first one.")
    retry_delay: Duration = Field(timedelta(seconds=30), description="Wait before each retry.")
    timeout: Duration | None = Field(timedelta(hours=2), description="A try that takes longer is stopped; null: never.")
    resources: Resources | None = Field(
        None, description="What a step's process or pod asks for; the profile's if not given."
    )
    environment: str | None = Field(None, description="One of the profile's environments; steps if not given.")
    steps: dict[StepKind, StepOverrides] = Field(default_factory=dict, description="What is different for a step kind.")

    def of(self, kind: str) -> Defaults:
        """What holds for one step kind."""
        block = PARTS.get(kind, kind)
        own = next((found for name, found in self.steps.items() if name == block), None)
        if own is None:
            return self
        return self.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})
