"""`alerts:`: who is told, and of what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradewind_runtime.contract.base import ConnectionId, Frozen

Event = Literal["promotion", "drift", "failure"]


class SlackAlert(Frozen):
    """A Slack channel."""

    connection: ConnectionId = Field("slack_default", description="Airflow's Slack API connection.")
    channel: str = Field(pattern=r"^[#@]?[A-Za-z0-9._-]+$", description='Channel name or id, such as "#ml-flights".')
    on: tuple[Event, ...] = Field(("promotion", "drift", "failure"), description="What is told.")


class Alerts(Frozen):
    """Where messages go."""

    slack: SlackAlert | None = Field(None, description="A Slack channel.")
