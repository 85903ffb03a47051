"""The `schedule:` block as the plan's schedule."""

from __future__ import annotations

from datetime import timedelta

from tradewind.plan.model import Schedule
from tradewind.spec.schedule import Schedule as Block


def schedule_of(block: Block | None, assets: tuple[str, ...]) -> Schedule:
    """A plan's schedule.

    Args:
        block: the pipeline's, if it has one.
        assets: those that wake the pipeline besides: its retrain requests.
    """
    if block is None:
        return Schedule(assets=assets)
    # `end` is the last day on which an interval starts; the plan's is the moment after it.
    end = (block.end + timedelta(days=1)).isoformat() if block.end else None
    return Schedule(
        cron=block.cron,
        timezone=block.timezone,
        start=block.start.isoformat() if block.start else None,
        end=end,
        catchup=block.catchup,
        assets=assets,
        after=block.after,
    )
