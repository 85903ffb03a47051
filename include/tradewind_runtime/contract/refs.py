"""What steps hand to each other: never data, always a pinned reference to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from tradewind_runtime.contract.base import Frozen


class Window(Frozen):
    """The half-open span of time `[start, end)` that a run is about, in UTC or any fixed zone."""

    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.start >= self.end:
            msg = f"the window's start {self.start} is not before its end {self.end}"
            raise ValueError(msg)
        return self

    def dates(self) -> Iterator[date]:
        """Every date that the window touches."""
        day = self.start.date()
        while day < self.end.date() or (day == self.end.date() and self.end.time().isoformat() > "00:00:00"):
            yield day
            day += timedelta(days=1)

    def union(self, other: Window) -> Window:
        """The smallest window that holds both."""
        return Window(start=min(self.start, other.start), end=max(self.end, other.end))

    @property
    def key(self) -> str:
        """A name for documents and transactions: no colon, sorts by start."""
        return f"{self.start:%Y%m%dT%H%M%S}-{self.end:%Y%m%dT%H%M%S}"


class DatasetRef(Frozen):
    """One version of one table of the lake."""

    type: Literal["dataset"] = "dataset"
    table: str = Field(description="Its name in the lake: PIPELINE/NAME.")
    version: int = Field(ge=0)


class ArtefactRef(Frozen):
    """A trained model: verified files at `models/<digest>` in the lake."""

    type: Literal["artefact"] = "artefact"
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    framework: str


class ModelRef(Frozen):
    """A version in a registry that points at an artefact."""

    type: Literal["model"] = "model"
    name: str
    version: str
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class ValueRef(Frozen):
    """A small JSON value, such as the best parameters of a sweep."""

    type: Literal["value"] = "value"
    value: dict[str, object]


#: What a step may put out.
Output = Annotated[DatasetRef | ArtefactRef | ModelRef | ValueRef, Field(discriminator="type")]
