"""What deferred tasks wait for: polled by the triggerer, which holds no worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from tradewind_runtime import endpoints, leases
from tradewind_runtime.connections import Connection as StepConnection
from tradewind_runtime.connections import store_options
from tradewind_runtime.contract.deploy import Abort, Stage
from tradewind_runtime.documents import Documents
from tradewind_runtime.judging import judge

Given = ParamSpec("Given")
Answer = TypeVar("Answer")
_ASKING = ThreadPoolExecutor(4, "tradewind-asking")


async def ask(question: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> Answer:
    """Ask somebody else's system, in a thread: one that does not answer takes none of the loop's own."""
    return await asyncio.get_running_loop().run_in_executor(_ASKING, partial(question, *args, **kwargs))


async def documents_of(lake: str, connection: str | None) -> Documents:
    """A lake's documents, by Airflow's connection where it has one."""
    return Documents(lake, None if connection is None else store_options(await connection_of(connection)))


async def connection_of(id: str) -> StepConnection:
    """One of Airflow's connections, as steps know it."""
    from airflow.sdk import Connection

    found = await Connection.async_get(id)
    return StepConnection.parse(id, found.as_json())


class LeaseTrigger(BaseTrigger):
    """Wakes when a lease is free, and from time to time, since its holder may have died."""

    def __init__(
        self, lake: str, name: str, connection: str | None = None, *, poll: float = 1.0, recheck: float = 15.0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lake = lake
        self.name = name
        self.connection = connection
        self.poll = poll
        self.recheck = recheck

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments, for the triggerer."""
        return (
            "tradewind.operators.triggers.LeaseTrigger",
            {
                "lake": self.lake,
                "name": self.name,
                "connection": self.connection,
                "poll": self.poll,
                "recheck": self.recheck,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the lake."""
        documents = await documents_of(self.lake, self.connection)
        waited = 0.0
        while waited < self.recheck:
            if await asyncio.to_thread(leases.current, documents, self.name) is None:
                break
            await asyncio.sleep(self.poll)
            waited += self.poll
        yield TriggerEvent({"lease": self.name})  # type: ignore[no-untyped-call]


class StageTrigger(BaseTrigger):
    """Wakes when a canary's stage can be judged."""

    def __init__(
        self,
        lake: str,
        *,
        endpoint: str,
        number: int,
        started: str,
        stage: dict[str, Any],
        abort: dict[str, Any],
        connection: str | None = None,
        replayed: bool = False,
        sleeps: bool = False,
        poll: float = 1.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lake = lake
        self.endpoint = endpoint
        self.number = number
        self.started = started
        self.stage = stage
        self.abort = abort
        self.connection = connection
        self.replayed = replayed
        self.sleeps = sleeps
        self.poll = poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments, for the triggerer."""
        return (
            "tradewind.operators.triggers.StageTrigger",
            {
                "lake": self.lake,
                "endpoint": self.endpoint,
                "number": self.number,
                "started": self.started,
                "stage": self.stage,
                "abort": self.abort,
                "connection": self.connection,
                "replayed": self.replayed,
                "sleeps": self.sleeps,
                "poll": self.poll,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Judge by the replicas' statuses until there is something to say."""
        documents = await documents_of(self.lake, self.connection)
        started = datetime.fromisoformat(self.started)
        stage, abort = Stage.model_validate(self.stage), Abort.model_validate(self.abort)
        while True:
            now = await asyncio.to_thread(endpoints.latest, documents, self.endpoint)
            if now is None or now.number != self.number:
                moved = f"generation {now.number}, by {now.by}: {now.reason}" if now else "no generation"
                yield TriggerEvent({"state": "moved", "reasons": [f"the endpoint has moved on to {moved}"]})  # type: ignore[no-untyped-call]
                return
            found = await asyncio.to_thread(endpoints.statuses, documents, self.endpoint)
            judgement = judge(
                stage, abort, now, found, started, datetime.now(started.tzinfo),
                replayed=self.replayed, sleeps=self.sleeps,
            )  # fmt: skip
            if judgement.state != "wait":
                yield TriggerEvent({"state": judgement.state, "reasons": list(judgement.reasons)})  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(self.poll)
