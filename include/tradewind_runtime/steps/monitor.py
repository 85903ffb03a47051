"""`monitor`: is what was served still like what was learnt from?

For each digest that answered in the window: every row against the profile saved at its training, exactly and
streamed. The window's latest result is kept, for patience over several windows; the verdict says whether to act.
What acts is another task.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from tradewind_runtime import artefacts, drift, endpoints
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.monitor import Drift, MonitorConfig
from tradewind_runtime.contract.refs import ValueRef, Window
from tradewind_runtime.contract.request import StepOutcome, Verdict
from tradewind_runtime.drift.learnt import Learnt, answer_column
from tradewind_runtime.drift.live import Live
from tradewind_runtime.drift.requests import PREDICTION, Requests
from tradewind_runtime.drift.windows import WindowDrift, among, held, keep
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import PositionsMovedError
from tradewind_runtime.replacing import Replace

SAMPLE = 2000

SCHEMA = pa.schema([
    ("window", pa.string()), ("window_start", pa.timestamp("us", "UTC")), ("window_end", pa.timestamp("us", "UTC")),
    ("digest", pa.string()), ("feature", pa.string()), ("psi", pa.float64()), ("drifting", pa.bool_()),
    ("rows", pa.int64()), ("requests", pa.int64()), ("computed", pa.timestamp("us", "UTC")),
])  # fmt: skip


def run(context: StepContext) -> StepOutcome:
    """Judge each digest that answered in the window.

    Raises:
        StepError: TW514 without a window; TW560 where an artefact is not what it was; TW581 to TW583 for columns.
    """
    config, window = context.request.configured(MonitorConfig), context.request.window
    if window is None:
        raise StepError("TW514", "the run has no window", retryable=False, fix="give it start and end as parameters")
    rows = Requests(context.snapshot("requests"), window, config.monitor.time)
    found = [_judge(context, config, rows, digest) for digest in rows.digests()]
    for one in found:
        keep(context.lake.documents, one)
        context.log.info("%s", one.says())
    _commit(context, config, window, found)
    return _outcome(context, config, window, found)


# One digest ---------------------------------------------------------------------------------------------------


def _judge(context: StepContext, config: MonitorConfig, rows: Requests, digest: str) -> WindowDrift:
    limits = config.monitor.drift
    learnt = Learnt.of(artefacts.load(context.lake.documents, digest))
    sampler = drift.Sampler(SAMPLE)
    columns = [feature.name for feature in learnt.profile.features if feature.name != PREDICTION]
    compared = drift.compare(learnt.profile, _tee(rows.batches(digest, columns), sampler))
    basis = WindowDrift(endpoint=config.endpoint, digest=digest, window=rows.window, requests=rows.snapshot.version,
                        rows=compared.rows, enough=compared.rows >= limits.min_rows)  # fmt: skip
    live = _live(context, config, rows, learnt)
    basis = basis.model_copy(update={"metrics": live.metrics, "labelled": live.labelled})
    if not basis.enough:
        return basis
    answers = next((f.psi for f in compared.features if f.name == PREDICTION), None)
    features = drift.Comparison(
        rows=compared.rows, features=tuple(f for f in compared.features if f.name != PREDICTION)
    )
    share = features.share(limits.psi)
    sample = sampler.table(learnt.reference.schema) if learnt.reference is not None else None
    return basis.model_copy(update={
        "share": share, "drifting": share >= limits.share, "prediction": answers,
        "features": {f.name: round(f.psi, 6) for f in features.features}, "columns": features.drifting(limits.psi),
        "report": _report(context, basis, learnt, sample, limits),
    })  # fmt: skip


def _tee(batches: Iterator[pa.RecordBatch], sampler: drift.Sampler) -> Iterator[pa.RecordBatch]:
    for raw in batches:
        at = raw.schema.get_field_index(PREDICTION)
        batch = raw.set_column(at, PREDICTION, answer_column(raw.column(at)))
        sampler.add(batch)
        yield batch


def _report(
    context: StepContext, basis: WindowDrift, learnt: Learnt, sample: pa.Table | None, limits: Drift
) -> str | None:
    if learnt.reference is None or sample is None:
        context.log.info("model %s was saved without a reference sample: no report", basis.digest[:12])
        return None
    from tradewind_runtime.drift.report import html

    path = f"reports/{context.request.pipeline}/{basis.endpoint}/{basis.window.key}/{basis.digest[:12]}.html"
    page = html(learnt.profile, learnt.reference, sample, psi=limits.psi, share=limits.share)
    context.lake.documents.put(path, page)
    return path


def _live(context: StepContext, config: MonitorConfig, rows: Requests, learnt: Learnt) -> Live:
    key, label = config.monitor.entity_key, config.label
    if key is None or label is None or "labels" not in context.request.inputs:
        return Live()
    from tradewind_runtime.drift.live import measure

    answers = rows.table(learnt.digest, [key])
    return measure(answers, context.snapshot("labels"), key=key, label=label, task=config.task, classes=learnt.classes)


# All of them --------------------------------------------------------------------------------------------------


def _commit(context: StepContext, config: MonitorConfig, window: Window, found: list[WindowDrift]) -> None:
    """One row for each digest, window and feature; those of an earlier computation give way."""
    table = context.table(f"{config.endpoint.replace('-', '_')}_drift")
    now, limit = datetime.now(UTC), config.monitor.drift.psi
    rows = [
        {"window": window.key, "window_start": window.start, "window_end": window.end, "digest": one.digest,
         "feature": name, "psi": psi, "drifting": psi > limit, "rows": one.rows, "requests": one.requests,
         "computed": now}
        for one in found
        for name, psi in {**one.features, PREDICTION: one.prediction}.items()
        if psi is not None
    ]  # fmt: skip
    done = f"step:{context.request.fingerprint}"
    if table.position(done) is not None or not (rows or table.exists()):
        return
    files = table.stage(pa.Table.from_pylist(rows, SCHEMA).to_batches(), SCHEMA) if rows else []
    try:
        table.commit(
            files, schema=SCHEMA, positions={done: Advance(None, 1)},
            replace=Replace("window", window.key, window.key + "~"),
            metadata={"step": context.request.fingerprint, "run": context.request.run_id},
        )  # fmt: skip
    except PositionsMovedError:
        context.log.info("another attempt was first: its rows stay")


@dataclass(frozen=True)
class _Decision:
    window: WindowDrift
    act: bool
    reason: str


def _decide(context: StepContext, config: MonitorConfig, found: list[WindowDrift]) -> list[_Decision]:
    """The models that still serve come first: drift of one that was replaced asks for nothing any more."""
    documents, patience = context.lake.documents, config.monitor.drift.patience
    serving = _serving(context, config.endpoint)
    decisions = []
    for one in found:
        if not one.enough:
            decisions.append(_Decision(one, False, one.says()))
            continue
        act, reason = held(among(documents, one, patience.among), patience)
        if act and serving and one.digest not in serving:
            act, reason = False, f"{reason}; but it does not serve any more"
        decisions.append(_Decision(one, act, reason))
    return sorted(decisions, key=lambda d: (not d.act, d.window.digest not in serving, -d.window.rows))


def _serving(context: StepContext, endpoint: str) -> tuple[str, ...]:
    number = context.request.pins.get("generation")
    documents = context.lake.documents
    if number is not None:
        path = endpoints.generation_path(endpoint, int(number))
        generation = documents.get_model(path, endpoints.EndpointGeneration)
    else:
        generation = endpoints.latest(documents, endpoint)
    return tuple(d for d in (generation.stable, generation.canary) if d) if generation else ()


def _outcome(context: StepContext, config: MonitorConfig, window: Window, found: list[WindowDrift]) -> StepOutcome:
    decisions = _decide(context, config, found)
    reasons = tuple(d.reason for d in decisions) or (f"no request came between {window.start} and {window.end}",)
    act = any(d.act for d in decisions)
    # What hangs on this verdict goes on where it passes: here, the tasks that act on drift.
    return StepOutcome(
        outputs={"drift": ValueRef(value=_value(config, window, decisions, reasons))},
        metrics=_metrics(decisions),
        facts={"window": window.model_dump(mode="json"), "act": act, "digests": {
            d.window.digest: d.window.model_dump(mode="json", exclude={"endpoint", "window", "digest"}) | {
                "says": d.reason} for d in decisions}},
        verdict=Verdict(passed=act, reasons=reasons),
        links=_links(decisions),
    )  # fmt: skip


def _value(
    config: MonitorConfig, window: Window, decisions: list[_Decision], reasons: tuple[str, ...]
) -> dict[str, object]:
    """What the tasks that act are given: the model that matters most, then all."""
    first = decisions[0].window if decisions else None
    head: dict[str, object] = {
        "endpoint": config.endpoint, "window": window.model_dump(mode="json"), "act": any(d.act for d in decisions),
        "reasons": list(reasons), "digest": None, "share": 0.0, "columns": [], "rows": 0, "report": None,
    }  # fmt: skip
    if first is not None:
        head |= {"digest": first.digest, "share": first.share, "columns": list(first.columns), "rows": first.rows,
                 "features": len(first.features), "metrics": first.metrics, "report": first.report}  # fmt: skip
    return head | {"digests": {
        d.window.digest: {"act": d.act, "drifting": d.window.drifting, "share": d.window.share, "rows": d.window.rows,
                          "columns": list(d.window.columns), "reason": d.reason} for d in decisions}}  # fmt: skip


def _metrics(decisions: list[_Decision]) -> dict[str, float]:
    found: dict[str, float] = {"rows": sum(d.window.rows for d in decisions), "models": len(decisions)}
    if decisions and decisions[0].window.enough:
        first = decisions[0].window
        found |= {"drift_share": first.share, "drifting": len(first.columns), "labelled": first.labelled}
        found |= {f"live_{name}": value for name, value in first.metrics.items()}
        if first.prediction is not None:
            found["prediction_psi"] = round(first.prediction, 6)
    return found


def _links(decisions: list[_Decision]) -> dict[str, str]:
    """The report of the model that matters most under the title that the UI knows, the others by their digest."""
    reports = [(d.window.digest, d.window.report) for d in decisions if d.window.report]
    return {
        f"Drift report {digest[:12]}" if index else "Drift report": path for index, (digest, path) in enumerate(reports)
    }
