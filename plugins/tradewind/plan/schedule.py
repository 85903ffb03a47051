"""The `schedule:` block as the plan's schedule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from tradewind.plan.model import Arrival, Schedule
from tradewind.spec.schedule import Arrival as Watched
from tradewind.spec.schedule import Schedule as Block
from tradewind_runtime.contract.sources import Source


def schedule_of(block: Block | None, assets: tuple[str, ...], sources: Mapping[str, Source] | None = None) -> Schedule:
    """A plan's schedule.

    Args:
        block: the pipeline's, if it has one.
        assets: those that wake the pipeline besides: its retrain requests.
        sources: the pipeline's, of which one may be watched.
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
        arrival=_arrival(block.arrival, sources) if block.arrival and sources else None,
    )


def _arrival(block: Watched, sources: Mapping[str, Source]) -> Arrival:
    kafka = sources[block.source].kafka
    assert kafka is not None, "validated"
    return Arrival(
        source=block.source,
        kafka=kafka.model_dump(mode="json", exclude_defaults=True) | {"connection": kafka.connection},
        messages=block.messages,
        wait=block.wait.total_seconds(),
        poll=block.poll.total_seconds(),
    )
