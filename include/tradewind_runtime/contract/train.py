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

    cpu: float = Field(1, gt=0, description="Cores.")
    memory: str = Field("2Gi", pattern=r"^\d+(Mi|Gi)$", description="Such as 512Mi or 4Gi.")
    gpu: int = Field(0, ge=0, description="GPUs.")


class Train(Frozen):
    """One training: a function of include/models, or an estimator and no Python at all."""

    function: str | None = Field(
        None, pattern=r"^[a-z_][a-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$", description="MODULE:FUNCTION of include/models."
    )
    estimator: Estimator | None = Field(None, description="A built-in one, instead of a function.")
    label: Name = Field(description="The column to predict.")
    task: Literal["binary", "multiclass", "regression"] = Field(
        "binary", description="What kind of label it is; decides the metrics."
    )
    features: tuple[str, ...] | None = Field(None, description="Columns to learn from; all others if not given.")
    exclude: tuple[str, ...] = Field((), description="Columns not to learn from (keys, for one).")
    params: dict[str, Any] = Field(
        default_factory=dict, description="Handed to the function or estimator, below what a sweep found."
    )
    seed: int = Field(7, description="Of every random choice in training.")
    when: Literal["always", "asked"] = Field(
        "always",
        description="asked: a run only prepares data, unless there is no champion yet or a retraining is asked for.",
    )
    resources: Resources = Field(Resources(), description="What training, and each trial, asks for.")

    @model_validator(mode="after")
    def _one(self) -> Train:
        if (self.function is None) == (self.estimator is None):
            msg = "train has either function or estimator"
            raise ValueError(msg)
        return self


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


Space = Annotated[dict[Name, IntRange | FloatRange | LogRange | Choice], Field(min_length=1)]


class Hyperopt(Frozen):
    """A sweep by Hyperopt's TPE."""

    trials: int = Field(12, ge=1, le=10_000, description="How many sets of parameters are tried.")
    parallel: int = Field(2, ge=1, le=64, description="How many at a time.")
    metric: str = Field("roc_auc", description="What is best, on the validation rows.")
    direction: Literal["maximize", "minimize"] = Field("maximize", description="Which way is better.")
    algorithm: Literal["tpe", "random", "anneal"] = Field("tpe", description="How the next set is chosen.")
    space: Space = Field(description="Parameter → its range or choices.")
    seed: int = Field(7, description="Of the search's random choices.")
    max_failures: int = Field(3, ge=0, description="More failed trials than this fail the sweep.")
    train_rows: int | None = Field(None, ge=100, description="A trial learns from at most so many rows.")


class Tune(Frozen):
    """Exactly one tuner."""

    hyperopt: Hyperopt = Field(description="Hyperopt.")


class TrainConfig(Frozen):
    """What the steps `train`, `tune` and `trial` are configured by."""

    train: Train
    split: Split
    tune: Tune | None = None
    trial_params: dict[str, Any] | None = Field(None, description="Of one trial.")
