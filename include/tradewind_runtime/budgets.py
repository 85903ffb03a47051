"""What a sweep has used of its time and its money, from its trials' documents and not from a process's clock.

So it is the same for whoever goes on with a killed sweep. An attempt that was killed left no document: it counts
while its sweep lives, and no longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tradewind_runtime.contract.sweep import End, Trial, Usage
from tradewind_runtime.contract.tune import Budget, Search

Span = tuple[datetime, datetime]


def usage(spans: Iterable[Span], price_per_hour: float | None) -> Usage:
    """Of trials that were, or are, under way: the time in which any was, and the sum that is paid for."""
    ordered = sorted(spans)
    busy, paid, until = 0.0, 0.0, None
    for start, end in ordered:
        paid += (end - start).total_seconds()
        begin = start if until is None else max(start, until)
        busy += max((end - begin).total_seconds(), 0.0)
        until = end if until is None else max(end, until)
    cost = None if price_per_hour is None else paid * price_per_hour / 3600
    return Usage(seconds=busy, trial_seconds=paid, cost=cost)


def used(trials: Iterable[Trial], search: Search, price_per_hour: float | None, running: Iterable[Span] = ()) -> Usage:
    """What a sweep has used.

    Args:
        trials: those that are over; of the same parameters they have one result, and so one span.
        search: whose budget may have a price of its own.
        price_per_hour: of one trial, if it has none.
        running: trials that are not over.
    """
    spans = {(trial.started, trial.finished) for trial in trials if trial.started and trial.finished}
    own = search.budget.price_per_hour if search.budget else None
    return usage([*spans, *running], own or price_per_hour)


def spent(budget: Budget, used: Usage) -> End | None:
    """Which part of a budget is used up, if any."""
    if budget.time is not None and used.seconds >= budget.time.total_seconds():
        return "time"
    if budget.cost is not None and used.cost is not None and used.cost >= budget.cost:
        return "cost"
    return None
