"""What waits in a topic or a store, watched by the triggerer: it starts runs and holds no worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from tradewind.operators.triggers import ask, connection_of, documents_of
from tradewind.plan.model import Arrival
from tradewind_runtime import leases
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.pins import Ends
from tradewind_runtime.contract.sources import KafkaSource, ObjectsSource
from tradewind_runtime.documents import Documents
from tradewind_runtime.sources import listing

AGAIN = timedelta(minutes=10)  # a run that was asked for and has pinned nothing by then is asked for once more
AGAIN_HELD = timedelta(hours=6)  # the same, while another run has the lease that it waits for, or it waits for objects


@dataclass(frozen=True)
class Look:
    """What there is at one moment."""

    unread: int
    pinned: str = ""  # the run that has pinned last
    held: bool = False  # whether a run of the pipeline is under way


@dataclass
class Watch:
    """When it is time for a run."""

    enough: int
    wait: timedelta
    since: datetime | None = None  # something waits
    asked: tuple[datetime, str] | None = None  # a run, and who had pinned last by then

    def due(self, look: Look, now: datetime) -> datetime | None:
        """Whether to ask for a run: since when what it is to read waits; None where it is not time."""
        if not look.unread:
            self.since = None
            return None
        self.since = since = self.since or now
        if look.unread < self.enough and now - since < self.wait:
            return None
        again = AGAIN_HELD if look.held else AGAIN
        if self.asked is not None and self.asked[1] == look.pinned and now - self.asked[0] < again:
            return None
        self.asked, self.since = (now, look.pinned), None
        return since


class ArrivalTrigger(BaseEventTrigger):
    """Updates an asset when enough of a topic or a store is unread, or something has been for long enough.

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
        """Ask the broker or the store from time to time; whatever does not answer is asked again."""
        arrival = Arrival.model_validate(self.arrival)
        watch = Watch(arrival.enough, timedelta(seconds=arrival.wait))
        while True:
            try:
                look = await self._look(arrival)
            except Exception as error:  # a broker, a store, a connection that somebody is about to mend
                self.log.warning("what waits for %s is not known: %s", self.pipeline, error)
            else:
                if (since := watch.due(look, datetime.now(UTC))) is not None:
                    what = "messages" if arrival.kafka else "objects"
                    self.log.info("%d %s of %s wait for %s", look.unread, what, arrival.source, self.pipeline)
                    yield TriggerEvent({"since": since.isoformat(), "unread": look.unread})  # type: ignore[no-untyped-call]
            await asyncio.sleep(arrival.poll)

    async def _look(self, arrival: Arrival) -> Look:
        source = source_of(arrival)
        documents = await documents_of(self.lake, self.connection)
        connection = await connection_of(source.connection) if source.connection else None
        return await ask(look_at, self.pipeline, arrival, documents, connection)


def source_of(arrival: Arrival) -> KafkaSource | ObjectsSource:
    """What is watched."""
    if arrival.kafka is not None:
        return KafkaSource.model_validate(arrival.kafka)
    return ObjectsSource.model_validate(arrival.objects)


def look_at(pipeline: str, arrival: Arrival, documents: Documents, connection: Connection | None) -> Look:
    """What waits in a topic or a store beyond what the newest run has pinned of it.

    Raises:
        StepError: TW525 where the broker or the store cannot be asked; others of the lake's store.
    """
    ends = documents.get_model(Ends.path(pipeline), Ends)
    pinned = (ends.sources.get(arrival.source) or {}) if ends else {}
    source = source_of(arrival)
    if isinstance(source, KafkaSource):
        from tradewind_runtime.sources.unread import unread_of

        assert connection is not None, "a topic is never without one"
        same = ends is not None and ends.topics.get(arrival.source) == source.topic
        unread = unread_of(source, connection, pinned if same else {})
    else:
        way = listing.Way(connection, Path(arrival.project) if arrival.project else None)
        unread = listing.unread_of(source, way, pinned)
    held = arrival.waits or leases.current(documents, leases.flow_lease(pipeline, "train")) is not None
    return Look(unread, ends.run_id if ends else "", held)
