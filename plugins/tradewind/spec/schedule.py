"""`schedule:`: when a pipeline starts by itself."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tradewind_runtime.contract.base import Frozen

#: The asset of a table or a model of another pipeline.
ASSET = r"^tradewind://(table/[a-z0-9-]+/[A-Za-z_][A-Za-z0-9_]*|model/[a-z0-9-]+)$"
AssetUri = Annotated[str, Field(pattern=ASSET)]

#: What croniter calls by another name, or Airflow has besides.
PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}


def checked_cron(value: str) -> str:
    """A cron expression of five fields, or a preset.

    Raises:
        ValueError: where it is neither.
    """
    from croniter import croniter

    if value in PRESETS:
        return value
    if value.startswith("@") or len(value.split()) != 5 or not croniter.is_valid(value):
        msg = f"{value!r} is not a cron expression of five fields, nor one of {', '.join(PRESETS)}"
        raise ValueError(msg)
    return value


class Schedule(Frozen):
    """Data intervals by a cron, or the tables and models of others. A plain text is the cron."""

    cron: str | None = Field(
        None, description="Five fields, or @hourly, @daily, @weekly, @monthly, @quarterly, @yearly."
    )
    start: date | None = Field(None, description="First day of the first interval.")
    end: date | None = Field(None, description="Day after which no interval starts.")
    catchup: bool = Field(False, description="Run the intervals that have passed since start.")
    timezone: str = Field("UTC", description="Zone of the cron, such as Europe/Zurich.")
    after: tuple[AssetUri, ...] = Field(
        (),
        description="Start when all of these have been updated: tradewind://table/PIPELINE/TABLE or tradewind://model/MODEL.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Schedule:
        if (self.cron is None) == (not self.after):
            msg = "a schedule has either cron or after"
            raise ValueError(msg)
        if self.after and self.catchup:
            msg = "catchup needs a cron: updates of tables and models are not caught up"
            raise ValueError(msg)
        return self

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (OSError, ValueError, KeyError) as error:
            msg = f"{value!r} is not a time zone such as UTC or Europe/Zurich"
            raise ValueError(msg) from error
        return value


def _from_text(value: Any) -> Any:
    return {"cron": value} if isinstance(value, str) else value


#: As a YAML writes it: the mapping, or a text that is the cron.
ScheduleBlock = Annotated[Schedule, BeforeValidator(_from_text, json_schema_input_type=Schedule | str)]
