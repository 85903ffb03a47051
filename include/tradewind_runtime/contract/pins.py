"""What a run stands on, written once by its first step."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.sources import Source


def safe_run(run_id: str) -> str:
    """A run's id as it may stand in a path."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", run_id)


class Pins(Frozen):
    """`runs/<pipeline>/<run_id>/pins.json`: every later step reads this, never "latest"."""

    pipeline: str
    run_id: str
    created: AwareDatetime
    window: Window
    backfill: bool = False
    sources: dict[str, Any] = Field(
        default_factory=dict,
        description="Source name → its end position: {partition: offset} or {object key: version}.",
    )
    tables: dict[str, int] = Field(default_factory=dict, description="Foreign tables read.")
    champion: str | None = Field(None, description="Digest of the champion, if there is one.")
    champion_version: str | None = None
    generation: int | None = Field(None, description="The endpoint's newest generation.")
    requests: tuple[str, ...] = Field((), description="Retrain requests that this run takes.")

    @staticmethod
    def path(pipeline: str, run_id: str) -> str:
        """Where a run's pins lie, below the lake."""
        return f"runs/{pipeline}/{run_id}/pins.json"


class Ends(Frozen):
    """`ends/<pipeline>.json`: how far its newest run reads, for who watches what comes after."""

    pipeline: str
    run_id: str
    created: AwareDatetime
    until: AwareDatetime = Field(description="The latest end of a window that a run was about.")
    sources: dict[str, Any] = Field(default_factory=dict, description="As in the run's pins.")
    topics: dict[str, str] = Field(default_factory=dict, description="Source → the topic that its ends are of.")

    @staticmethod
    def path(pipeline: str) -> str:
        """Where it lies, below the lake."""
        return f"ends/{pipeline}.json"


class PinConfig(Frozen):
    """What the step `pin` is configured by."""

    sources: dict[str, Source] = Field(default_factory=dict)
    tables: tuple[str, ...] = Field((), description="Foreign tables to pin, PIPELINE/NAME.")
    model: str | None = None
    registry: str = "mlflow"
    endpoint: str | None = None
    requests: tuple[str, ...] = ()
    backfill: bool = False
    train: Literal["always", "asked"] = Field("always", description="The verdict says whether this run trains.")
    asked: bool = Field(False, description="A person asks this run to train.")


class IngestConfig(Frozen):
    """What the step `ingest` is configured by."""

    name: str
    source: Source
