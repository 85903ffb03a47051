"""What waits in a store: objects that are new or written again start a run, those that one has pinned do not."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent
from tests.tradewind.operators.landing import Landing, know

from tradewind.dev.servers.s3 import S3
from tradewind.operators.arrival import ArrivalTrigger
from tradewind.plan.model import Arrival
from tradewind_runtime.contract.pins import Ends
from tradewind_runtime.contract.sources import ObjectsSource
from tradewind_runtime.documents import Documents

NOW = datetime(2013, 6, 1, tzinfo=UTC)


class Watched:
    """A pipeline that a triggerer watches objects for."""

    def __init__(self, folder: Path, objects: ObjectsSource, **more: Any) -> None:
        self.lake = (folder / "a lake").as_uri()
        body = objects.model_dump(mode="json", exclude_defaults=True)
        self.arrival = Arrival(source="weather", objects=body, **({"enough": 1, "wait": 900, "poll": 0.1} | more))

    def pinned(self, run_id: str, **versions: str) -> None:
        """What the first task of a run writes down."""
        ends = Ends(pipeline="p", run_id=run_id, created=NOW, until=NOW, sources={"weather": versions})
        Documents(self.lake).put(Ends.path("p"), ends.model_dump_json().encode())

    def trigger(self) -> ArrivalTrigger:
        """Another triggerer's, by what Airflow keeps of it."""
        words = ArrivalTrigger(self.lake, pipeline="p", arrival=self.arrival.model_dump(mode="json")).serialize()[1]
        return ArrivalTrigger(**json.loads(json.dumps(words)))


async def told(trigger: ArrivalTrigger, written: list[Any]) -> list[int]:
    """How many were unread: at once, and after each of what is written, where that starts a run."""
    events: list[int] = []
    seen = asyncio.Event()

    async def listen() -> None:
        async for event in trigger.run():
            assert isinstance(event, TriggerEvent)
            events.append(event.payload["unread"])
            seen.set()

    listens = asyncio.create_task(listen())
    try:
        for write in written:
            await asyncio.sleep(1)
            assert not events, "nothing is to be read yet"
            await asyncio.to_thread(write)
        await asyncio.wait_for(seen.wait(), 60)
        await asyncio.sleep(1)
        return events
    finally:
        listens.cancel()


@pytest.mark.server
def test_enough_objects_start_one_run_and_after_a_restart_what_it_pinned_starts_none(
    s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(s3_server, monkeypatch)
    landing = Landing(s3_server)
    watched = Watched(tmp_path, landing.source("in/*.csv"), enough=2)
    assert s3_server.secret not in json.dumps(watched.trigger().serialize()[1])
    first = lambda: landing.write("in/a.csv")  # noqa: E731
    second = lambda: landing.write("in/b.csv")  # noqa: E731
    other = lambda: landing.write("in/b.txt")  # noqa: E731
    assert asyncio.run(told(watched.trigger(), [first, other, second])) == [2], "once, though both stay unread"

    watched.pinned("r1", **{"in/a.csv": landing.write("in/a.csv"), "in/b.csv": landing.write("in/b.csv")})
    again = lambda: landing.write("in/b.csv", "n\n2\n")  # noqa: E731
    third = lambda: landing.write("in/c.csv")  # noqa: E731
    assert asyncio.run(told(watched.trigger(), [again, third])) == [2], "one written again, and a new one"


@pytest.mark.server
def test_few_start_a_run_when_they_have_waited_and_a_bucket_that_is_not_there_is_asked_for_again(
    s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(s3_server, monkeypatch)
    landing = Landing(s3_server, there=False)
    watched = Watched(tmp_path, landing.source("**.csv"), enough=100, wait=2)
    assert asyncio.run(told(watched.trigger(), [landing.make, lambda: landing.write("in/a.csv")])) == [1]


def test_files_of_the_project_are_watched_and_the_newest_alone_where_it_is_the_table(tmp_path: Path) -> None:
    folder = tmp_path / "in"

    def write(name: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("n\n1\n")

    watched = Watched(tmp_path, ObjectsSource(uri="in/*.csv", mode="replace"), project=str(tmp_path))
    write("a.csv")
    write("b.csv")
    assert asyncio.run(told(watched.trigger(), [])) == [1]
