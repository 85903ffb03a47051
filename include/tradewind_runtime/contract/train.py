"""`train:`: one function or a built-in estimator."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, WrapSerializer, model_validator

from tradewind_runtime.contract.base import Frozen, Name
from tradewind_runtime.contract.resources import Resources
from tradewind_runtime.contract.split import Split
from tradewind_runtime.contract.tune import Tune

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


Framework = Literal["xgboost", "torch", "tensorflow", "ray"]
#: What people ask for and do not get, and why.
_REFUSED = {
    "keras": "Keras learns on several workers by its backend: say tensorflow",
    "horovod": "Horovod's last release, 0.28.1, cannot be built for today's TensorFlow; say torch or tensorflow, which "
    "average the gradients of all workers as it does",
} | dict.fromkeys(("spark", "dask"), f"not there; {', '.join(get_args(Framework))} are")


def _known(framework: Any) -> Any:
    if isinstance(framework, str) and framework in _REFUSED:
        msg = f"training on several workers with {framework}: {_REFUSED[framework]}"
        raise ValueError(msg)
    return framework


class Distributed(Frozen):
    """One training on several workers: the step's own process, and others like it."""

    workers: int = Field(
        ge=2, le=64, description="So many, the step's own among them; each learns from its share, but with ray."
    )
    framework: Annotated[Framework, BeforeValidator(_known)] = Field(
        description="What they work together by: XGBoost's own collective, torch.distributed, a strategy of TensorFlow "
        "(for Keras), or a cluster of Ray, on which rank 0's function computes."
    )


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
    resources: Resources | None = Field(
        None, description="What training, and a sweep, asks for; that of `defaults` if not given."
    )
    distributed: Distributed | None = Field(None, description="On several workers at once; on one if not given.")

    @model_validator(mode="after")
    def _one(self) -> Train:
        if (self.function is None) == (self.estimator is None):
            msg = "train has either function or estimator"
            raise ValueError(msg)
        return self


def _without_resources(train: Train, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
    body: dict[str, Any] = written(train)
    body.pop("resources", None)
    return body


#: As a step is configured by it: where it runs changes nothing of what it gives, and so not its name.
TrainBlock = Annotated[Train, WrapSerializer(_without_resources)]


class TrainConfig(Frozen):
    """What the steps `train`, `tune` and `trial` are configured by."""

    train: TrainBlock
    split: Split
    tune: Tune | None = None
    trial_params: dict[str, Any] | None = Field(None, description="Of one trial.")
