"""`maintenance:`: keep a pipeline's tables in order."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from tradewind_runtime.contract.base import Duration, Frozen, Name

LEAST = timedelta(days=2)  # no step that has staged files runs so long
YOUNGEST = timedelta(days=1)


class Retain(Frozen):
    """How long a table's rows are kept. A plain duration is `rows`."""

    rows: Duration = Field(description="Older rows are deleted; 1d at least.")
    by: Name | None = Field(
        None,
        description="The column, of times, that says how old a row is. Of a source's tables its `time`, else when it "
        "was ingested; of its quarantine when it came there; of features and predictions `split.time`.",
    )

    @field_validator("rows")
    @classmethod
    def _long_enough(cls, value: timedelta) -> timedelta:
        if value < YOUNGEST:
            msg = "at least 1d"
            raise ValueError(msg)
        return value


def _whole(value: Any) -> Any:
    """`90d` is short for `{rows: 90d}`."""
    return value if isinstance(value, dict | Retain) else {"rows": value}


RetainBlock = Annotated[Retain, BeforeValidator(_whole, json_schema_input_type=Retain | str | int | float)]


class Maintenance(Frozen):
    """A DAG of its own, over all tables of the pipeline."""

    schedule: str | None = Field("@weekly", description="Cron of its DAG.")
    keep: Duration = Field(
        timedelta(days=7),
        description="Older versions of a table go, 2d at least, unless a registered model or a run stands on them.",
    )
    compact: bool = Field(True, description="Whether small files are put together.")
    retain: dict[Name, RetainBlock] = Field(
        default_factory=dict, description="Table → how long its rows are kept; for good, if it is not named."
    )

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
