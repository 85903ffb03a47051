"""What is told to people, and what the step `notify` is configured by."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tradewind_runtime.contract.base import Frozen

Event = Literal["promotion", "rollback", "drift", "refusal", "failure", "message"]


class NotifyConfig(Frozen):
    """Title, text and fields are made of the step's inputs where they are not given."""

    channel: str
    event: Event = "message"
    title: str | None = None
    text: str = ""
    fields: dict[str, str] = Field(default_factory=dict)
    link: str | None = Field(None, description="Address of the run in Airflow.")
    reports: str | None = Field(None, description="Address below which the lake's reports are shown.")


class Message(Frozen):
    """One message, in Slack's Block Kit."""

    text: str = Field(description="What a notification on a phone shows.")
    blocks: tuple[dict[str, Any], ...]


class Notice(Frozen):
    """A message in the outbox: `notices/<key>.json`, created once, before it is sent."""

    event: Event
    pipeline: str
    run_id: str
    channel: str
    message: Message

    @staticmethod
    def path(key: str) -> str:
        """Where it lies, below the lake."""
        return f"notices/{key}.json"


class Sent(Frozen):
    """Proof that a notice went out: `notices/<key>.sent.json`."""

    channel: str
    ts: str = Field(description="Slack's name for the message.")

    @staticmethod
    def path(key: str) -> str:
        """Where it lies, below the lake."""
        return f"notices/{key}.sent.json"
