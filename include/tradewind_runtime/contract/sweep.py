"""The documents of a sweep: what became of each trial, how far it was, and what ended it all."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.request import StepRequest

State = Literal["running", "done", "pruned", "failed"]
End = Literal["trials", "time", "cost"]


class Begun(Frozen):
    """Whose sweep this is, and when it was first tried."""

    request: StepRequest
    at: AwareDatetime


class Trial(Frozen):
    """One trial. It runs, or did when its sweep was killed, until it is one of the others."""

    index: int
    params: dict[str, Any]
    state: State = "running"
    score: float | None = Field(None, description="Of a pruned trial, its last value.")
    step: int | None = Field(None, description="At which it was pruned.")
    reason: str | None = Field(None, description="Why it has failed or was pruned.")
    retryable: bool = False
    metrics: dict[str, float] = Field(default_factory=dict)
    started: AwareDatetime | None = None
    finished: AwareDatetime | None = None

    @property
    def seconds(self) -> float:
        """How long it took; 0 while it runs."""
        return (self.finished - self.started).total_seconds() if self.started and self.finished else 0.0


class Rung(Frozen):
    """How good a trial was at a step, and whether it was to go on. Created once, and so decided once."""

    step: int = Field(description="The step that was reported, at the rung's or after it.")
    value: float
    stop: str | None = Field(None, description="Why it is not to go on.")


class Usage(Frozen):
    """What a sweep has used."""

    seconds: float = Field(0.0, description="During which a trial was under way.")
    trial_seconds: float = Field(0.0, description="Of all trials, one after another.")
    cost: float | None = Field(None, description="None where there is no price.")


class Ended(Frozen):
    """A budget was used up. Created once: whoever goes on with the sweep starts no further trial."""

    by: End
    trials: int = Field(description="So many had been started.")
    usage: Usage
