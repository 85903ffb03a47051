"""`request_retraining`: ask for a retraining because of drift that lasts; once for an endpoint, digest and window."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import Field

from tradewind_runtime import retraining
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.base import Frozen, Slug
from tradewind_runtime.contract.refs import ValueRef, Window
from tradewind_runtime.contract.request import StepOutcome, Verdict


class RequestRetrainingConfig(Frozen):
    """What the step is configured by."""

    pipeline: Slug = Field(description="That is asked to train again.")
    endpoint: Slug


def run(context: StepContext) -> StepOutcome:
    """Create the request, unless there is nothing to act on. Asking twice is asking once."""
    config, found = context.request.configured(RequestRetrainingConfig), context.input("drift", ValueRef).value
    if not found.get("act"):
        return StepOutcome(facts={"requested": None}, verdict=Verdict(passed=False, reasons=("no drift to act on",)))
    reasons = found.get("reasons")
    request = retraining.RetrainRequest(
        pipeline=config.pipeline, endpoint=config.endpoint, digest=str(found["digest"]),
        window=Window.model_validate(found["window"]), created=datetime.now(UTC),
        reason="; ".join(map(str, reasons)) if isinstance(reasons, list) else "drift",
    )  # fmt: skip
    new = retraining.ask(context.lake.documents, request)
    says = f"retraining asked for: {request.key}" if new else f"retraining was asked for before: {request.key}"
    context.log.info("%s", says)
    return StepOutcome(facts={"requested": request.key, "new": new}, verdict=Verdict(passed=True, reasons=(says,)))
