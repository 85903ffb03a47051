"""`deploy:` and `score:`: what serves a model, and how a new one takes over."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, field_validator

from tradewind_runtime.contract.base import Duration, Frozen, Name

#: The environment variable that holds the token which a model server wants, in it and in who asks it.
SERVING_TOKEN = "TRADEWIND_SERVING_TOKEN"  # noqa: S105 - its name


class Stage(Frozen):
    """When one stage of a canary ends."""

    min_requests: int = Field(200, ge=0, description="Answers of each arm before the stage is judged.")
    min_time: Duration = Field(timedelta(seconds=30), description="A stage is not judged earlier.")
    max_time: Duration = Field(timedelta(minutes=10), description="A stage is judged then, with what there is.")


class Abort(Frozen):
    """What sends a canary back. Labels never do: they come too late."""

    error_rate: float = Field(0.02, ge=0, le=1, description="Canary's errors over the stable's, more than this.")
    latency_ratio: float = Field(3.0, gt=1, description="Canary's p95 over the stable's.")
    shift: float = Field(0.25, gt=0, le=1, description="Kolmogorov-Smirnov distance of the answers.")


class Deploy(Frozen):
    """A model server and the stages of a rollout, in percent."""

    server: Literal["kserve"] = Field("kserve", description="Which model server.")
    canary: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(
        (10, 50, 100), description="Percent of the requests that a new version answers, stage by stage."
    )
    stage: Stage = Field(Stage(), description="When a stage ends.")
    abort: Abort = Field(Abort(), description="What sends a new version back.")
    capture: bool = Field(True, description="Keep requests and answers in the lake.")

    @field_validator("canary")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)) or value[-1] != 100:
            msg = "canary is a rising list of percentages that ends with 100"
            raise ValueError(msg)
        return value


class Score(Frozen):
    """Batch scoring by the champion, in a DAG of its own."""

    table: Name = Field("features", description="The table whose rows of the window are scored.")
    output: Name = Field("predictions", description="The table of the answers.")
    schedule: str | None = Field(None, description="Cron of its DAG; by hand only if not given.")
    keep: tuple[Name, ...] = Field((), description="Columns to carry into the output, such as keys.")


class ScoreConfig(Frozen):
    """What the step `score` is configured by. The window's rows by `time`; all where there is none."""

    score: Score
    time: Name | None = None


class ReplayConfig(Frozen):
    """What the step `replay` is configured by."""

    endpoint: str
    requests: int = Field(ge=1, description="How many captured requests to send through both arms.")
    server: str | None = Field(None, description="URL of the endpoint's own server; else each replica's own address.")


class SelectConfig(Frozen):
    """What the step `select` is configured by."""

    model: str
    registry: str = "mlflow"
    endpoint: str
    again: bool = Field(False, description="A person asks for what was rolled back before.")
    wanted: str | None = Field(None, description="The version that a person asks for, whatever was served before.")
