"""`tune:`: a tuner, the space that it searches, when a trial is given up, and what a sweep may use."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from tradewind_runtime.contract.base import Duration, Frozen, Name

One = TypeVar("One", bound=Frozen)
_Ints = Annotated[tuple[int, int], Field(description="[low, high]")]
_Floats = Annotated[tuple[float, float], Field(description="[low, high]")]
_Positives = Annotated[
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], Field(description="[low, high]")
]


class IntRange(Frozen):
    """Whole numbers from low to high, both included."""

    int: _Ints


class FloatRange(Frozen):
    """Real numbers, evenly."""

    float: _Floats


class LogRange(Frozen):
    """Real numbers, evenly on a logarithmic scale; low > 0."""

    log: _Positives


class Choice(Frozen):
    """One of these."""

    choice: tuple[Any, ...] = Field(min_length=1, description="The values.")


Range = IntRange | FloatRange | LogRange | Choice
Space = Annotated[dict[Name, IntRange | FloatRange | LogRange | Choice], Field(min_length=1)]


class Median(Frozen):
    """Stop a trial that is worse than the median of the others at the same step."""

    warmup: int = Field(10, ge=0, description="The first step that is looked at.")
    interval: int = Field(10, ge=1, description="Steps from one look to the next.")
    trials: int = Field(4, ge=1, description="So many others must have come as far.")


class Asha(Frozen):
    """Asynchronous successive halving: of each rung's trials the best go on to the next."""

    min_steps: int = Field(10, ge=1, description="The step of the first rung.")
    factor: int = Field(3, ge=2, description="One of so many goes on, to a rung so many times as far.")


class Prune(Frozen):
    """Exactly one rule by which a trial is stopped early."""

    median: Median | None = Field(None, description="Stop what is worse than the median.")
    asha: Asha | None = Field(None, description="Asynchronous successive halving.")

    @model_validator(mode="after")
    def _one(self) -> Prune:
        return _exactly_one(self, "prune")


class Budget(Frozen):
    """What a sweep may use, besides its trials. Once it is used, no further trial is started."""

    time: Duration | None = Field(
        None, gt=timedelta(0), description="How long trials may be under way, all attempts of the sweep together."
    )
    cost: float | None = Field(None, gt=0, description="What its trials may cost, in the price's currency.")
    price_per_hour: float | None = Field(
        None, gt=0, description="Of one trial; the profile's setting `price_per_hour` if not given."
    )

    @model_validator(mode="after")
    def _some(self) -> Budget:
        if self.time is None and self.cost is None:
            msg = "budget has time, cost, or both"
            raise ValueError(msg)
        return self


class Search(Frozen):
    """What every tuner is told."""

    trials: int = Field(12, ge=1, le=10_000, description="How many sets of parameters are tried.")
    parallel: int = Field(2, ge=1, le=64, description="How many at a time.")
    metric: str = Field("roc_auc", description="What is best, on the validation rows.")
    direction: Literal["maximize", "minimize"] = Field("maximize", description="Which way is better.")
    space: Space = Field(description="Parameter → its range or choices.")
    seed: int = Field(7, description="Of the search's random choices.")
    max_failures: int = Field(3, ge=0, description="More failed trials than this fail the sweep.")
    train_rows: int | None = Field(None, ge=100, description="A trial learns from at most so many rows.")
    prune: Prune | None = Field(None, description="When a trial is stopped early; never if not given.")
    budget: Budget | None = Field(None, description="Time and money; only `trials` counts if not given.")

    @property
    def sign(self) -> float:
        """What a score is multiplied by, so that more is better."""
        return 1.0 if self.direction == "maximize" else -1.0


class Hyperopt(Search):
    """A sweep by Hyperopt."""

    algorithm: Literal["tpe", "random", "anneal"] = Field("tpe", description="How the next set is chosen.")


class Optuna(Search):
    """A sweep by Optuna."""

    sampler: Literal["tpe", "random"] = Field("tpe", description="How the next set is chosen.")


class Tune(Frozen):
    """Exactly one tuner."""

    hyperopt: Hyperopt | None = Field(None, description="Hyperopt.")
    optuna: Optuna | None = Field(None, description="Optuna.")
    workers: Literal["processes", "pods", "spark", "ray"] | None = Field(
        None,
        description="What runs trials, `parallel` of them: processes of the step (the default), pods like its own, or "
        "tasks of Spark or of Ray.",
    )

    @model_validator(mode="after")
    def _one(self) -> Tune:
        return _exactly_one(self, "tune", ("hyperopt", "optuna"))

    @property
    def tuner(self) -> str:
        """The tuner's name: its key here, and its module."""
        return "hyperopt" if self.hyperopt else "optuna"

    @property
    def search(self) -> Search:
        """What the tuner is told."""
        found: Search = getattr(self, self.tuner)
        return found

    def alone(self) -> Tune:
        """The same for one trial, to which it does not matter how many others there are."""
        one = {"trials": 1, "parallel": 1, "max_failures": 0, "budget": None}
        return self.model_copy(update={self.tuner: self.search.model_copy(update=one), "workers": None})


def _exactly_one(model: One, name: str, among: Iterable[str] = ()) -> One:
    fields = tuple(among) or tuple(type(model).model_fields)
    given = [field for field in fields if getattr(model, field) is not None]
    if len(given) != 1:
        msg = f"{name} has exactly one of {', '.join(fields)}; got {', '.join(given) or 'none'}"
        raise ValueError(msg)
    return model
