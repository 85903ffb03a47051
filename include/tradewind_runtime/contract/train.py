"""`train:` and `tune:`: one function or a built-in estimator, and the space to search."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tradewind_runtime.contract.base import Frozen, Name
from tradewind_runtime.contract.split import Split

Estimator = Literal[
    "xgboost.XGBClassifier",
    "xgboost.XGBRegressor",
    "sklearn.LogisticRegression",
    "sklearn.RandomForestClassifier",
    "sklearn.RandomForestRegressor",
    "sklearn.HistGradientBoostingClassifier",
    "sklearn.HistGradientBoostingRegressor",
    "sklearn.Ridge",
]


class Resources(Frozen):
    """What a step asks for; the runner says what comes of it."""

    cpu: float = Field(1, gt=0)
    memory: str = Field("2Gi", pattern=r"^\d+(Mi|Gi)$")
    gpu: int = Field(0, ge=0)


class Train(Frozen):
    """One training: a function of include/models, or an estimator and no Python at all."""

    function: str | None = Field(None, pattern=r"^[a-z_][a-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$")
    estimator: Estimator | None = None
    label: Name
    task: Literal["binary", "multiclass", "regression"] = "binary"
    features: tuple[str, ...] | None = Field(None, description="Columns to learn from; all others if not given.")
    exclude: tuple[str, ...] = Field((), description="Columns not to learn from (keys, for one).")
    params: dict[str, Any] = Field(default_factory=dict)
    seed: int = 7
    when: Literal["always", "asked"] = Field(
        "always", description="asked: a run only prepares data, unless there is no champion yet or a retraining is asked for."
    )
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _one(self) -> Train:
        if (self.function is None) == (self.estimator is None):
            msg = "train has either function or estimator"
            raise ValueError(msg)
        return self


class IntRange(Frozen):
    """Whole numbers from low to high, both included."""

    int: tuple[int, int]


class FloatRange(Frozen):
    """Real numbers, evenly."""

    float: tuple[float, float]


class LogRange(Frozen):
    """Real numbers, evenly on a logarithmic scale; low > 0."""

    log: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class Choice(Frozen):
    """One of these."""

    choice: tuple[Any, ...] = Field(min_length=1)


Space = Annotated[dict[Name, IntRange | FloatRange | LogRange | Choice], Field(min_length=1)]


class Hyperopt(Frozen):
    """A sweep by Hyperopt's TPE."""

    trials: int = Field(12, ge=1, le=10_000)
    parallel: int = Field(2, ge=1, le=64)
    metric: str = "roc_auc"
    direction: Literal["maximize", "minimize"] = "maximize"
    algorithm: Literal["tpe", "random", "anneal"] = "tpe"
    space: Space
    seed: int = 7
    max_failures: int = Field(3, ge=0)
    train_rows: int | None = Field(None, ge=100, description="A trial learns from at most so many rows.")


class Tune(Frozen):
    """Exactly one tuner."""

    hyperopt: Hyperopt


class TrainConfig(Frozen):
    """What the steps `train`, `tune` and `trial` are configured by."""

    train: Train
    split: Split
    tune: Tune | None = None
    trial_params: dict[str, Any] | None = Field(None, description="Of one trial.")
