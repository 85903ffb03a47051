"""The end of a canary's stage: errors, latency and shift of the answers decide. Pure; labels come too late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from math import sqrt
from typing import Literal

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.deploy import Abort, Stage
from tradewind_runtime.endpoints import ArmStatus, EndpointGeneration, ReplicaStatus, merged

#: A replica that has not written for so long is not there.
STALE = timedelta(seconds=30)
#: A p95 that differs by less than this, in seconds, is noise, whatever the ratio.
NOISE = 0.02
#: Kolmogorov-Smirnov at a level of 0.001: a shift is larger than chance makes it.
CHANCE = 1.95


def alive(status: ReplicaStatus, now: datetime, within: timedelta = STALE) -> bool:
    """Whether a replica has written lately, and not that it ended."""
    return not status.stopped and now - status.written <= within


class Judgement(Frozen):
    """`wait` and ask again; `pass` to the next stage; `fail`: abort; `replay` captures and ask again."""

    state: Literal["wait", "pass", "fail", "replay"]
    reasons: tuple[str, ...]


def judge(  # noqa: PLR0917 - in the order of a sentence
    stage: Stage,
    abort: Abort,
    generation: EndpointGeneration,
    statuses: Sequence[ReplicaStatus],
    started: datetime,
    now: datetime,
    *,
    replayed: bool = False,
    sleeps: bool = False,
) -> Judgement:
    """Whether the stage that a generation stands for is over, and how.

    Args:
        stage: when it ends.
        abort: what is too bad.
        generation: of this stage. One without a canary passes as soon as every live replica serves it.
        statuses: of all replicas; stale ones are ignored.
        started: when the generation was created.
        now: the time.
        replayed: captures were replayed: judge with what there is.
        sleeps: there may be no replica when nobody asks: then a replay is to wake one.
    """
    spent = now - started
    live = [status for status in statuses if alive(status, now)]
    waiting = _not_serving(generation, live)
    if not live and sleeps and not replayed:
        return Judgement(state="replay" if spent >= stage.max_time else "wait", reasons=waiting)
    if waiting:
        refused = any(status.refused == generation.number for status in live)
        return Judgement(state="fail" if refused or spent >= stage.max_time else "wait", reasons=waiting)
    if generation.canary is None:
        return Judgement(state="pass", reasons=(f"served by {_count(len(live), 'replica')}",))
    here = [status for status in live if status.generation == generation.number]
    stable, canary = merged(here, generation.stable), merged(here, generation.canary)
    fewest = min(stable.rows, canary.rows)
    if fewest < stage.min_requests and not replayed:
        reason = f"stable answered {stable.rows} and canary {canary.rows} of {stage.min_requests} each"
        return Judgement(state="replay" if spent >= stage.max_time else "wait", reasons=(reason,))
    if bad := tuple(_worse(abort, stable, canary)):
        return Judgement(state="fail", reasons=bad)
    if spent < stage.min_time and not replayed:
        return Judgement(state="wait", reasons=(f"{(stage.min_time - spent).total_seconds():.0f} s are left",))
    if not fewest:
        return Judgement(state="pass", reasons=("no traffic and nothing to replay: nothing speaks against it",))
    return Judgement(state="pass", reasons=(_compared(stable, canary),))


def _not_serving(generation: EndpointGeneration, live: Sequence[ReplicaStatus]) -> tuple[str, ...]:
    """Why some replica does not serve the generation yet; empty when all do."""
    if not live:
        return (f"no replica of {generation.endpoint} is alive",)
    late = [status for status in live if status.generation < generation.number]
    return tuple(
        f"replica {status.replica} serves generation {status.generation or 'none'}"
        + (f": {'; '.join(status.problems)}" if status.problems else "")
        for status in late
    )


def _worse(abort: Abort, stable: ArmStatus, canary: ArmStatus) -> Iterator[str]:
    more = canary.error_rate - stable.error_rate
    if more > abort.error_rate:
        yield (
            f"errors: canary {canary.error_rate:.1%}, stable {stable.error_rate:.1%}; "
            f"allowed {abort.error_rate:.1%} more"
        )
    slow, quick = canary.latency.quantile(0.95), stable.latency.quantile(0.95)
    if slow is not None and quick is not None and slow > quick * abort.latency_ratio and slow - quick > NOISE:
        yield (
            f"latency: p95 of canary {slow * 1000:.1f} ms, of stable {quick * 1000:.1f} ms; "
            f"allowed {abort.latency_ratio:g} times"
        )
    ours, theirs = canary.answers.total, stable.answers.total
    if ours and theirs:
        shift = stable.answers.distance(canary.answers)
        if shift > abort.shift and shift > CHANCE * sqrt((ours + theirs) / (ours * theirs)):
            yield f"answers: shifted by {shift:.2f} (Kolmogorov-Smirnov); allowed {abort.shift:g}"


def _compared(stable: ArmStatus, canary: ArmStatus) -> str:
    slow, quick = canary.latency.quantile(0.95) or 0.0, stable.latency.quantile(0.95) or 0.0
    return (
        f"canary {canary.rows} answers, stable {stable.rows}; errors {canary.error_rate:.1%} and "
        f"{stable.error_rate:.1%}; p95 {slow * 1000:.1f} and {quick * 1000:.1f} ms; "
        f"shift {stable.answers.distance(canary.answers):.2f}"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
