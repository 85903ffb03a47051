"""`pin`: a run's first step writes down what the run stands on; every later step reads that, never "latest"."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tradewind_runtime import endpoints, sources
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.pins import Ends, PinConfig, Pins
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.request import StepOutcome, Verdict
from tradewind_runtime.steps.ingest import access


def run(context: StepContext) -> StepOutcome:
    """Write the run's pins, or adopt those that it has already.

    Raises:
        StepError: TW514 without a window; others of a source or the registry that cannot be asked.
    """
    config = context.request.configured(PinConfig)
    path = Pins.path(context.request.pipeline, context.request.run_id)
    documents = context.lake.documents
    pins = documents.get_model(path, Pins)
    if pins is None:
        documents.create_model(path, _pins(context, config))
        pins = documents.get_model(path, Pins)
        assert pins is not None, "a document that was created can be read"
    else:
        context.log.info("this run has its pins already, of %s", pins.created.isoformat())
    _tell_ends(context, config, pins)
    refusal = _refusal(config, pins)
    context.log.info("window %s to %s; champion %s", pins.window.start, pins.window.end, pins.champion or "none yet")
    return StepOutcome(
        facts={"pins": pins.model_dump(mode="json"), "path": path},
        metrics={"sources": len(pins.sources), "requests": len(pins.requests)},
        verdict=Verdict(passed=refusal is None, reasons=() if refusal is None else (refusal,)),
    )


def _tell_ends(context: StepContext, config: PinConfig, pins: Pins) -> None:
    """Who watches the sources reads how far this run does; an older run's retry does not go back."""
    if not config.sources or pins.backfill:
        return
    path = Ends.path(pins.pipeline)
    before = context.lake.documents.get_model(path, Ends)
    if before is not None and before.created >= pins.created:
        return
    ends = Ends(
        pipeline=pins.pipeline,
        run_id=pins.run_id,
        created=pins.created,
        until=max(pins.window.end, before.until) if before else pins.window.end,
        sources=pins.sources,
        topics={name: source.kafka.topic for name, source in config.sources.items() if source.kafka},
    )
    context.lake.documents.put(path, ends.model_dump_json(indent=1).encode())


def _refusal(config: PinConfig, pins: Pins) -> str | None:
    """Why this run trains nothing; None where it does."""
    if pins.backfill:
        return "a backfill makes tables, and trains nothing"
    if config.train == "always" or config.asked or pins.requests or pins.champion is None:
        return None
    return "a champion serves, and no retraining was asked for"


def _pins(context: StepContext, config: PinConfig) -> Pins:
    champion = _champion(context, config)
    generation = endpoints.latest(context.lake.documents, config.endpoint) if config.endpoint else None
    tables = {name: context.lake.table(name).snapshot().version for name in config.tables}
    return Pins(
        pipeline=context.request.pipeline,
        run_id=context.request.run_id,
        created=datetime.now(UTC),
        window=_window(context),
        backfill=config.backfill,
        sources=_ends(context, config),
        tables=tables,
        champion=champion[0] if champion else None,
        champion_version=champion[1] if champion else None,
        generation=generation.number if generation else None,
        requests=config.requests,
    )


def _window(context: StepContext) -> Window:
    if context.request.window is None:
        raise StepError(
            "TW514",
            "the run has no window",
            retryable=False,
            fix="give it start and end as parameters, or the pipeline a schedule",
        )
    return context.request.window


def _ends(context: StepContext, config: PinConfig) -> dict[str, Any]:
    """Where each source ends now. A backfill consumes nothing: it computes again from what has been ingested."""
    ends: dict[str, Any] = {}
    for name, source in config.sources.items():
        if config.backfill:
            ends[name] = None
            continue
        allowed = replace(access(context, f"source:{name}"), window=context.request.window)
        ends[name] = sources.reader(source.kind).end_position(source, allowed)
        context.log.info("source %s ends at %s", name, _short(ends[name]))
    return ends


def _short(end: dict[str, Any]) -> str:
    return str(end) if len(end) <= 8 else f"{len(end)} positions"


def _champion(context: StepContext, config: PinConfig) -> tuple[str, str] | None:
    if config.model is None:
        return None
    from tradewind_runtime.registries import registry

    return registry(config.registry).champion(context.registry_uri(), config.model)
