"""`monitor:`: compare what was served with what was learned from."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from tradewind_runtime.contract.base import Frozen, Name


class Patience(Frozen):
    """`2 of 5`: drifting windows among the latest ones, before anything is done."""

    hits: int = Field(ge=1, description="Drifting windows.")
    among: int = Field(ge=1, description="Latest windows looked at.")


class Drift(Frozen):
    """A feature drifts by its population stability index; a window by the share of such features."""

    share: float = Field(0.3, gt=0, le=1, description="Share of drifting features that makes a window drift.")
    psi: float = Field(0.2, gt=0, description="Population stability index above which a feature drifts.")
    patience: Patience = Field(
        Patience(hits=1, among=1), alias="for", description="Drifting windows before anything is done, such as 2 of 5."
    )
    min_rows: int = Field(200, ge=1, description="With fewer rows nothing is said.")

    @field_validator("patience", mode="before")
    @classmethod
    def _hits(cls, value: Any) -> Any:
        if isinstance(value, str):
            match = re.fullmatch(r"\s*(\d+)\s+of\s+(\d+)\s*", value)
            if match is None or not 0 < int(match[1]) <= int(match[2]):
                msg = "for is written as '2 of 5': so many drifting windows among so many"
                raise ValueError(msg)
            return {"hits": int(match[1]), "among": int(match[2])}
        return value


class Monitor(Frozen):
    """A DAG of its own, over captured requests."""

    schedule: str | None = Field("@daily", description="Cron of its DAG.")
    time: Name | None = Field(None, description="Column of event time in requests; else the request's time.")
    entity_key: Name | None = Field(None, description="Column by which later labels are joined.")
    drift: Drift = Field(Drift(), description="What counts as drift.")
    then: Literal["retrain", "alert"] = Field(
        "alert", description="What is done: alert tells, retrain also trains anew."
    )


class MonitorConfig(Frozen):
    """What the step `monitor` is configured by."""

    endpoint: str
    monitor: Monitor
    label: str | None = None
    task: str = "binary"


def table_name(endpoint: str) -> str:
    """The table of an endpoint's requests, within its pipeline."""
    return f"{endpoint.replace('-', '_')}_requests"
