"""`maintenance:`: keep a pipeline's tables in order."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, field_validator

from tradewind_runtime.contract.base import Duration, Frozen

LEAST = timedelta(days=2)  # no step that has staged files runs so long


class Maintenance(Frozen):
    """A DAG of its own, over all tables of the pipeline."""

    schedule: str | None = Field("@weekly", description="Cron of its DAG.")
    keep: Duration = Field(
        timedelta(days=7),
        description="Older versions of a table go, 2d at least, unless a registered model or a run stands on them.",
    )
    compact: bool = Field(True, description="Whether small files are put together.")

    @field_validator("keep")
    @classmethod
    def _long_enough(cls, value: timedelta) -> timedelta:
        if value < LEAST:
            msg = "at least 2d: younger files may be of a step that has not committed them yet"
            raise ValueError(msg)
        return value


class MaintainConfig(Frozen):
    """What the step `maintain` is configured by."""

    maintenance: Maintenance
