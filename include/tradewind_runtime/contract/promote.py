"""`evaluate:` and `promote:`: metrics on held-out rows, thresholds, and the champion to beat."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tradewind_runtime.contract.base import Frozen, Name, Slug
from tradewind_runtime.contract.split import Split
from tradewind_runtime.contract.train import TrainBlock

#: Metrics, and whether more is better.
METRICS: dict[str, dict[str, bool]] = {
    "binary": {
        "roc_auc": True,
        "average_precision": True,
        "accuracy": True,
        "f1": True,
        "log_loss": False,
        "brier": False,
    },
    "multiclass": {"accuracy": True, "f1": True, "log_loss": False},
    "regression": {"rmse": False, "mae": False, "r2": True},
}


class Evaluate(Frozen):
    """What is measured besides what the gate asks for."""

    metrics: tuple[str, ...] | None = Field(None, description="All of the task's, if not given.")
    by: tuple[Name, ...] = Field((), description="Columns by whose values metrics are told apart.")
    min_rows: int = Field(30, ge=1, description="Fewer test rows than this fail the gate.")


class Threshold(Frozen):
    """What one metric must be."""

    min: float | None = Field(None, description="At least this.")
    max: float | None = Field(None, description="At most this.")
    beats_champion_by: float | None = Field(
        None, ge=0, description="0.0: at least as good as the champion on the same rows."
    )

    @model_validator(mode="after")
    def _something(self) -> Threshold:
        if self.min is None and self.max is None and self.beats_champion_by is None:
            msg = "a threshold has min, max or beats_champion_by"
            raise ValueError(msg)
        return self


class Promote(Frozen):
    """The gate, and where what passes it is registered."""

    model: Slug = Field(description="The registered model's name, and its endpoint's.")
    registry: Literal["mlflow"] = Field("mlflow", description="Which kind of registry.")
    when: dict[str, Threshold] = Field(default_factory=dict, description="Metric → what it must be.")
    approval: Literal["automatic", "human"] = Field(
        "automatic", description="human: a person is asked before a version is rolled out."
    )


class EvaluateConfig(Frozen):
    """What the step `evaluate` is configured by."""

    train: TrainBlock
    split: Split
    evaluate: Evaluate = Evaluate()
    when: dict[str, Threshold] = Field(default_factory=dict)


class RegisterConfig(Frozen):
    """What the step `register` is configured by."""

    model: Slug
    registry: str = "mlflow"
    description: str = ""
    owner: str = ""
    yaml: str = Field("", description="The pipeline's text, kept with the version.")
    commit: str = Field("", description="The commit that it came from; outside Git, a digest of the project's files.")


class PromoteConfig(Frozen):
    """What the step `promote` is configured by. The input `version` comes before `version` and `digest` here."""

    model: Slug
    registry: str = "mlflow"
    endpoint: str | None = Field(None, description="Where it was rolled out; for people.")
    version: str | None = None
    digest: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
