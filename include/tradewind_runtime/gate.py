"""The gate: may a candidate take the champion's place? Pure: from numbers to a verdict with its reasons."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tradewind_runtime.contract.promote import METRICS, Threshold
from tradewind_runtime.contract.request import Verdict

#: So that 0.71 beats 0.70 by 0.01, which floating-point numbers do not do by themselves.
_EQUAL = 1e-12
UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Scores:
    """A model on some rows."""

    rows: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Both models on the same rows, later than both models' training; or why there are none."""

    candidate: Scores = Scores(0)
    champion: Scores = Scores(0)
    refusal: str | None = None


def judge(
    when: Mapping[str, Threshold],
    task: str,
    candidate: Scores,
    comparison: Comparison | None = None,
    *,
    min_rows: int = 1,
    unchanged: bool = False,
) -> Verdict:
    """Yes only where every threshold is met, by numbers that exist.

    Args:
        when: thresholds by metric.
        task: which metrics there are, and whether more is better.
        candidate: on all of its test rows.
        comparison: with the champion; None where there is no champion.
        min_rows: fewer rows decide nothing.
        unchanged: the candidate is the champion.
    """
    if unchanged:
        return Verdict(passed=False, reasons=(UNCHANGED,))
    reasons = (
        *_unfit("test", candidate, min_rows),
        *_absolute(when, candidate),
        *_relative(when, task, comparison, min_rows),
    )
    return Verdict(passed=not reasons, reasons=tuple(dict.fromkeys(reasons)))


def _unfit(which: str, scores: Scores, min_rows: int) -> Iterator[str]:
    if scores.rows < min_rows:
        yield f"{scores.rows} {which} rows are fewer than {min_rows}"
    yield from scores.problems


def _absolute(when: Mapping[str, Threshold], candidate: Scores) -> Iterator[str]:
    for name, threshold in when.items():
        value = candidate.metrics.get(name)
        if value is None or not math.isfinite(value):
            yield f"{name} could not be measured"
        elif threshold.min is not None and value < threshold.min:
            yield f"{name} {value:.4g} is less than {threshold.min:g}"
        elif threshold.max is not None and value > threshold.max:
            yield f"{name} {value:.4g} is more than {threshold.max:g}"


def _relative(when: Mapping[str, Threshold], task: str, comparison: Comparison | None, min_rows: int) -> Iterator[str]:
    asked = {name: t.beats_champion_by for name, t in when.items() if t.beats_champion_by is not None}
    if comparison is None or not asked:
        return
    if comparison.refusal:
        yield f"not comparable with the champion: {comparison.refusal}"
        return
    yield from _unfit("compared", comparison.candidate, min_rows)
    yield from (f"champion: {problem}" for problem in comparison.champion.problems)
    for name, margin in asked.items():
        ours, theirs = comparison.candidate.metrics.get(name), comparison.champion.metrics.get(name)
        more = METRICS.get(task, {}).get(name)
        if more is None or ours is None or theirs is None or not (math.isfinite(ours) and math.isfinite(theirs)):
            yield f"{name} could not be compared with the champion's"
            continue
        gain = ours - theirs if more else theirs - ours
        if gain < margin - _EQUAL:
            yield f"{name} {ours:.4g} against the champion's {theirs:.4g}: better by {gain:.4g}, not by {margin:g}"
