"""What waits in a topic, watched by the triggerer: it starts runs and holds no worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from tradewind.operators.triggers import connection_of, documents_of
from tradewind.plan.model import Arrival
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.pins import Ends
from tradewind_runtime.contract.sources import KafkaSource

AGAIN = timedelta(minutes=10)  # a run that was asked for and has pinned nothing by then is asked for once more


@dataclass
class Watch:
    """When it is time for a run."""

    messages: int
    wait: timedelta
    since: datetime | None = None  # something waits
    asked: tuple[datetime, str] | None = None  # a run, and what the last one had pinned by then

    def due(self, unread: int, pinned: str, now: datetime) -> bool:
        """Whether to ask for a run.

        Args:
            unread: messages beyond what the last run has pinned.
            pinned: that run's id, which is another once a run has pinned its end.
            now: the time.
        """
        if not unread:
            self.since = None
            return False
        self.since = self.since or now
        if unread < self.messages and now - self.since < self.wait:
            return False
        if self.asked is not None and self.asked[1] == pinned and now - self.asked[0] < AGAIN:
            return False
        self.asked, self.since = (now, pinned), None
        return True


class ArrivalTrigger(BaseEventTrigger):
    """Updates an asset when enough of a topic is unread, or something has been for long enough.

    What a run has pinned counts as read, so none is asked for twice while it is under way.
    """

    def __init__(self, lake: str, *, pipeline: str, arrival: dict[str, Any], connection: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lake = lake
        self.pipeline = pipeline
        self.arrival = arrival
        self.connection = connection

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments, for the triggerer."""
        return (
            "tradewind.operators.arrival.ArrivalTrigger",
            {
                "lake": self.lake,
                "pipeline": self.pipeline,
                "arrival": self.arrival,
                "connection": self.connection,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask the broker from time to time; one that does not answer is asked again."""
        from tradewind_runtime.sources.unread import unread_of

        arrival = Arrival.model_validate(self.arrival)
        kafka = KafkaSource.model_validate(arrival.kafka)
        watch = Watch(arrival.messages, timedelta(seconds=arrival.wait))
        documents = await documents_of(self.lake, self.connection)
        broker = await connection_of(kafka.connection)
        while True:
            try:
                ends = await asyncio.to_thread(documents.get_model, Ends.path(self.pipeline), Ends)
                read = ends.sources.get(arrival.source) if ends else None
                unread = await asyncio.to_thread(unread_of, kafka, broker, read or {})
            except (StepError, OSError) as error:
                self.log.warning("what waits in %s is not known: %s", kafka.topic, error)
            else:
                now = datetime.now(UTC)
                if watch.due(unread, ends.run_id if ends else "", now):
                    self.log.info("%d messages of %s wait", unread, kafka.topic)
                    begun = ends.created if ends else now - watch.wait
                    yield TriggerEvent(  # type: ignore[no-untyped-call]
                        {"window": {"start": begun.isoformat(), "end": now.isoformat()}, "unread": unread}
                    )
            await asyncio.sleep(arrival.poll)
