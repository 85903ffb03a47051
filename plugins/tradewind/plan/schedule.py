"""The `schedule:` block as the plan's schedule."""

from __future__ import annotations

from tradewind.plan.model import Schedule


def schedule_of(block: object, assets: tuple[str, ...]) -> Schedule:
    """A plan's schedule, of a block or none, and of the assets that wake the pipeline besides."""
    raise NotImplementedError
