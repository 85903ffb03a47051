"""Objects that a run waits for, looked for by the triggerer: it holds no worker, and no lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from tradewind.operators.triggers import ask, connection_of
from tradewind_runtime.contract.errors import TradewindError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.sources import ObjectsSource
from tradewind_runtime.sources.listing import POLL, Waiting, Way


def _of(error: TradewindError) -> TriggerEvent:
    return TriggerEvent({"problem": error.problems[0].model_dump(mode="json")})  # type: ignore[no-untyped-call]


class ObjectsTrigger(BaseTrigger):
    """Wakes when each of a run's sources that it waits for has an object, and with what is wrong where one has none."""

    def __init__(
        self,
        sources: dict[str, dict[str, Any]],
        *,
        since: str,
        window: dict[str, Any] | None = None,
        project: str | None = None,
        poll: float = POLL,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sources = sources
        self.since = since
        self.window = window
        self.project = project
        self.poll = poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments, for the triggerer: connections are named, their secrets are not in it."""
        return (
            "tradewind.operators.objects.ObjectsTrigger",
            {
                "sources": self.sources,
                "since": self.since,
                "window": self.window,
                "project": self.project,
                "poll": self.poll,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look from time to time; a store or a connection that is not there may be mended meanwhile."""
        sources = {name: ObjectsSource.model_validate(one) for name, one in self.sources.items()}
        waiting = Waiting(sources, datetime.fromisoformat(self.since))
        while True:
            try:
                ways = {name: await self._way(objects) for name, objects in sources.items()}
                missing = await ask(waiting.missing, ways, datetime.now(UTC))
            except TradewindError as error:
                yield _of(error)
                return
            except Exception as error:  # whose words may hold what nobody else should read
                self.log.warning("what has come is not known: %s", error)
                if waiting.over(datetime.now(UTC)):
                    yield _of(waiting.late(f"the triggerer cannot look: {type(error).__name__}"))
                    return
            else:
                if not missing:
                    break
            await asyncio.sleep(self.poll)
        yield TriggerEvent({})  # type: ignore[no-untyped-call]

    async def _way(self, objects: ObjectsSource) -> Way:
        return Way(
            await connection_of(objects.connection) if objects.connection else None,
            Path(self.project) if self.project else None,
            Window.model_validate(self.window) if self.window else None,
        )
