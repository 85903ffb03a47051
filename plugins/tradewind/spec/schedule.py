"""`schedule:`: when a pipeline starts by itself."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tradewind_runtime.contract.base import Duration, Frozen, Name

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


class Arrival(Frozen):
    """Start when enough of a topic or a store waits to be read, or something has waited long enough."""

    source: Name = Field(description="The source, of Kafka or of objects, that is watched.")
    messages: int = Field(10_000, ge=1, description="Kafka: so many that wait start a run.")
    objects: int = Field(1, ge=1, description="Objects: so many that wait, new or written again, start a run.")
    wait: Duration = Field(timedelta(minutes=15), description="So long after the first of them, however few they are.")
    poll: Duration = Field(timedelta(seconds=10), description="How often the broker or the store is asked.")

    @field_validator("wait", "poll")
    @classmethod
    def _not_at_once(cls, value: timedelta) -> timedelta:
        if value < timedelta(seconds=1):
            msg = "at least 1s"
            raise ValueError(msg)
        return value


class Schedule(Frozen):
    """Data intervals by a cron, the tables and models of others, or what arrives. A plain text is the cron."""

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
    arrival: Arrival | None = Field(None, description="Start by what waits in a topic or a store.")

    @model_validator(mode="after")
    def _one_way(self) -> Schedule:
        if sum(way is not None for way in (self.cron, self.after or None, self.arrival)) != 1:
            msg = "a schedule has one of cron, after and arrival"
            raise ValueError(msg)
        if self.cron is None and self.catchup:
            msg = "catchup needs a cron: only intervals are caught up"
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
