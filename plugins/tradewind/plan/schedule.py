"""The `schedule:` block as the plan's schedule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tradewind.plan.model import Arrival, Schedule
from tradewind.plan.words import fill
from tradewind.spec import Pipeline
from tradewind.spec.schedule import Schedule as Block


def schedule_of(block: Block | None, assets: tuple[str, ...], arrival: Arrival | None = None) -> Schedule:
    """A plan's schedule.

    Args:
        block: the pipeline's, if it has one.
        assets: those that wake the pipeline besides: its retrain requests.
        arrival: what is watched for it.
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
        arrival=arrival,
    )


def arrival_of(spec: Pipeline, settings: Mapping[str, Any]) -> Arrival | None:
    """What is watched, as a run sees it that nobody starts: its params have their defaults.

    Args:
        spec: the pipeline.
        settings: the profile's, one of which says where the project is.
    """
    block = spec.schedule.arrival if spec.schedule else None
    if block is None:
        return None
    source = spec.sources[block.source]
    kind = source.kafka or source.objects
    assert kind is not None, "validated"
    body = kind.model_dump(mode="json", exclude_defaults=True) | {"connection": kind.connection}
    body = fill(body, {name: param.default for name, param in spec.params.items()}, None)
    return Arrival(
        source=block.source,
        kafka=body if source.kafka else None,
        objects=body if source.objects else None,
        enough=block.messages if source.kafka else block.objects,
        wait=block.wait.total_seconds(),
        poll=block.poll.total_seconds(),
        project=settings.get("project") if source.objects else None,
        waits=any(one.objects and one.objects.wait for one in spec.sources.values()),
    )
