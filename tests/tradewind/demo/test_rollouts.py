"""Rollouts, read from generations alone."""

from __future__ import annotations

from datetime import UTC, datetime

from tradewind.demo.rollouts import Rollout, rollouts
from tradewind_runtime.endpoints import EndpointGeneration

OLD, NEW = "a" * 64, "b" * 64


def generation(number: int, by: str, stable: str, canary: str | None = None, weight: int = 0) -> EndpointGeneration:
    return EndpointGeneration(
        endpoint="m", number=number, stable=stable, canary=canary, weight=weight, created=datetime.now(UTC), by=by,
        reason=f"reason {number}",
    )  # fmt: skip


def test_each_run_is_a_rollout_of_one_version() -> None:
    newest_first = [
        generation(4, "r/2", NEW), generation(3, "r/2", OLD, NEW, 50), generation(2, "r/2", OLD, NEW, 10),
        generation(1, "r/1", OLD),
    ]  # fmt: skip
    assert rollouts(newest_first) == [Rollout("r/1", OLD, (100,)), Rollout("r/2", NEW, (10, 50, 100))]
    assert all(one.finished for one in rollouts(newest_first))


def test_one_that_went_back_says_why_also_from_the_last_stage() -> None:
    first = generation(1, "r/1", OLD)
    on_the_way = rollouts([first, generation(2, "r/2", OLD, NEW, 10), generation(3, "r/2", OLD)])[1]
    assert (on_the_way.shares, on_the_way.back, on_the_way.finished) == ((10,), "reason 3", False)
    last = [generation(2, "r/2", OLD, NEW, 10), generation(3, "r/2", NEW), generation(4, "r/2", OLD)]
    at_the_end = rollouts([first, *last])[1]
    assert (at_the_end.shares, at_the_end.back, at_the_end.finished) == ((10, 100), "reason 4", False)


def test_one_that_stands_still_is_not_finished() -> None:
    found = rollouts([generation(1, "r/1", OLD), generation(2, "r/2", OLD, NEW, 10)])[1]
    assert not found.finished
    assert not found.went_by((10, 50, 100))


def test_nothing_was_rolled_out() -> None:
    assert rollouts([]) == []
