"""`evaluate`: candidate and champion on rows that neither has learnt from, and the gate's verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import artefacts, gate, metrics, splits
from tradewind_runtime.artefacts import Manifest
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.promote import EvaluateConfig
from tradewind_runtime.contract.refs import ArtefactRef, ValueRef
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.frameworks import Predictor, answers, predictor
from tradewind_runtime.gate import Comparison, Scores
from tradewind_runtime.training import encoded, matrix

MAX_SLICES = 50


@dataclass(frozen=True)
class Model:
    """A verified model and what it says of itself."""

    digest: str
    manifest: Manifest
    predictor: Predictor


def run(context: StepContext) -> StepOutcome:
    """Score both, compare, judge. A no is a result, not a failure."""
    config = context.request.configured(EvaluateConfig)
    candidate = _model(context, context.input("model", ArtefactRef).digest)
    pinned = context.request.pins.get("champion")
    rows = _test_rows(context, config)
    names = _wanted(config)
    ours = _scores(candidate, rows, names)
    comparison, theirs = None, None
    unchanged = pinned == candidate.digest
    if pinned and not unchanged:
        comparison = _against(context, str(pinned), candidate, rows, config)
        theirs = comparison.champion
    verdict = gate.judge(
        config.when, config.train.task, ours, comparison, min_rows=config.evaluate.min_rows, unchanged=unchanged
    )
    slices = {column: _slices(candidate, rows, column, names) for column in config.evaluate.by}
    value: dict[str, object] = {
        "candidate": dict(ours.metrics),
        "rows": ours.rows,
        "champion": dict(theirs.metrics) if theirs else None,
        "champion_digest": pinned,
        "digest": candidate.digest,
        "compared": dict(comparison.candidate.metrics) if comparison else None,
        "compared_rows": comparison.candidate.rows if comparison else 0,
        "verdict": verdict.model_dump(mode="json"),
    }
    _say(context, ours, comparison, verdict.passed, verdict.reasons)
    found = {"rows": float(ours.rows), "compared_rows": float(comparison.candidate.rows if comparison else 0)}
    return StepOutcome(
        outputs={"evaluation": ValueRef(value=value)},
        metrics=dict(ours.metrics)
        | found
        | {f"champion_{name}": number for name, number in (theirs.metrics if theirs else {}).items()},
        facts={"champion": pinned, "digest": candidate.digest, "slices": slices, "problems": list(ours.problems)},
        verdict=verdict,
    )


def _model(context: StepContext, digest: str) -> Model:
    artefact = artefacts.load(context.lake.documents, digest)
    return Model(digest, artefact.manifest, predictor(artefact, int(context.setting("threads", 1))))


def _test_rows(context: StepContext, config: EvaluateConfig) -> pa.Table:
    """The candidate's test rows; none is not an error here, but a no of the gate."""
    snapshot = context.snapshot("features")
    found = pa.Table.from_batches(
        splits.batches(snapshot, config.split, context.request.window, "test"), snapshot.schema
    )
    if missing := [name for name in config.evaluate.by if name not in found.column_names]:
        raise StepError(
            "TW553",
            f"the table has no column {', '.join(missing)}",
            retryable=False,
            path="evaluate.by",
            got=found.column_names,
        )
    return found


def _wanted(config: EvaluateConfig) -> list[str] | None:
    """The metrics asked for and those that the gate needs; None is all of the task's."""
    if config.evaluate.metrics is None:
        return None
    return list(dict.fromkeys((*config.evaluate.metrics, *config.when)))


def _scores(model: Model, rows: pa.Table, names: list[str] | None) -> Scores:
    """Metrics of one model; where its answers or the rows are unfit, the reasons instead."""
    manifest = model.manifest
    if rows.num_rows == 0:
        return Scores(0)
    missing = [name for name in (*manifest.features, str(manifest.label)) if name not in rows.column_names]
    if missing:
        return Scores(rows.num_rows, problems=(f"the rows have no column {', '.join(missing)}",))
    try:
        y = encoded(rows[str(manifest.label)], manifest.classes)
    except StepError as error:
        return Scores(rows.num_rows, problems=(error.problems[0].message,))
    prediction, silent = answers(model.predictor, matrix(rows, manifest.features))
    if prediction is None:
        return Scores(rows.num_rows, problems=silent)
    if wrong := metrics.problems(manifest.task, prediction, rows.num_rows, len(manifest.classes)):
        return Scores(rows.num_rows, problems=wrong)
    single = len(set(y.tolist())) < 2 and manifest.task != "regression"
    return Scores(
        rows.num_rows,
        metrics.measure(manifest.task, y, prediction, names),
        ("the test rows hold one class only",) if single else (),
    )


def _against(context: StepContext, digest: str, candidate: Model, rows: pa.Table, config: EvaluateConfig) -> Comparison:
    """A champion that cannot be loaded is no reason to fail, but none to be replaced unseen either."""
    try:
        champion = _model(context, digest)
    except StepError as error:
        return Comparison(refusal=error.problems[0].message)
    return _compared(candidate, champion, rows, config)


def _compared(candidate: Model, champion: Model, rows: pa.Table, config: EvaluateConfig) -> Comparison:
    """Both on the rows that are later than both trainings."""
    if refusal := _refusal(candidate.manifest, champion.manifest):
        return Comparison(refusal=refusal)
    if config.split.time is not None:
        ends = (champion.manifest.trained_until, candidate.manifest.trained_until)
        until = max(datetime.fromisoformat(end) for end in ends if end is not None)
        rows = _since(rows, config.split.time, until)
        if rows.num_rows == 0:
            return Comparison(refusal=f"there is no test row from {until:%Y-%m-%d %H:%M} on, where neither has learnt")
    names = _wanted(config)
    return Comparison(_scores(candidate, rows, names), _scores(champion, rows, names))


def _refusal(candidate: Manifest, champion: Manifest) -> str | None:
    if (candidate.task, candidate.label) != (champion.task, champion.label):
        return f"it predicts {champion.label} ({champion.task}), the candidate {candidate.label} ({candidate.task})"
    if candidate.classes != champion.classes:
        return f"it knows the classes {list(champion.classes)}, the candidate {list(candidate.classes)}"
    if candidate.trained_until is not None and champion.trained_until is not None:
        return None
    if candidate.trained_split is not None and candidate.trained_split == champion.trained_split:
        return None  # a row's content decides its side, in every version of the table
    return "it was trained on rows chosen in another way, so which ones it has not seen is not known"


def _since(rows: pa.Table, column: str, until: datetime) -> pa.Table:
    zoned = pa.timestamp("us", "UTC")
    times = rows[column]
    if not getattr(times.type, "tz", None):  # without a zone, it is UTC
        times = times.cast(pa.timestamp("us"))
    return rows.filter(pc.greater_equal(times.cast(zoned), pa.scalar(until, zoned)))


def _slices(model: Model, rows: pa.Table, column: str, names: list[str] | None) -> list[dict[str, Any]]:
    """Metrics by a column's values, the most frequent first."""
    counts = sorted(pc.value_counts(rows[column]).to_pylist(), key=lambda item: (-item["counts"], str(item["values"])))
    found = []
    for item in counts[:MAX_SLICES]:
        value = item["values"]
        mask = pc.is_null(rows[column]) if value is None else pc.equal(rows[column], value)
        scores = _scores(model, rows.filter(mask), names)
        found.append(
            {
                "value": value if isinstance(value, str | int | float | bool | None) else str(value),
                "rows": scores.rows,
                "metrics": dict(scores.metrics),
            }
        )
    return found


def _say(
    context: StepContext, ours: Scores, comparison: Comparison | None, passed: bool, reasons: tuple[str, ...]
) -> None:
    context.log.info("candidate on %d test rows: %s", ours.rows, _text(ours.metrics))
    if comparison is not None and comparison.refusal is None:
        context.log.info(
            "on %d rows new to both: candidate %s; champion %s",
            comparison.candidate.rows,
            _text(comparison.candidate.metrics),
            _text(comparison.champion.metrics),
        )
    context.log.info("the gate says %s%s", "yes" if passed else "no", f": {'; '.join(reasons)}" if reasons else "")


def _text(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in numbers.items()) or "nothing could be measured"
