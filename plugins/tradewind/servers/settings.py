"""What a profile says about a model server of an endpoint's own, on the cluster."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.resources import Held, Size


class Replicas(Frozen):
    """How many there are."""

    min: int = Field(2, ge=0, description="At least; 0, which costs the first caller a start, where KServe scales.")
    max: int = Field(4, ge=1, description="At most.")
    cpu: int = Field(70, ge=1, le=100, description="Percent of their cores that they are kept at.")

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.min > self.max:
            msg = f"min {self.min} is more than max {self.max}"
            raise ValueError(msg)
        return self


class OwnServer(Frozen):
    """A server of its own for each endpoint, made by the first rollout and kept up to date by each one."""

    kind: Literal["deployment", "kserve"] = Field(
        "deployment", description="A Deployment with Service, autoscaler and disruption budget; or an InferenceService."
    )
    image: str = Field(description="The image `serving`, by digest best.")
    service_account: str = Field("tradewind-{pipeline}", description="Of its pods; {pipeline} is filled in.")
    replicas: Replicas = Field(Replicas(), description="How many there are.")
    cpu: float = Field(1, gt=0, description="Cores of one.")
    memory: Size = Field("2Gi", description="Memory of one.")
    token: Held | None = Field(None, description="SECRET/KEY of the bearer token that callers must show.")
    patience: int = Field(300, gt=0, description="Seconds until a new server must have come up.")

    @model_validator(mode="after")
    def _scales_to_zero(self) -> OwnServer:
        if self.kind == "deployment" and not self.replicas.min:
            msg = "replicas.min is 1 at least: only kind kserve scales to zero"
            raise ValueError(msg)
        return self
