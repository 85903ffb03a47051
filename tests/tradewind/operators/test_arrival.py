"""What waits in a topic: when it is time for a run, and that none is asked for twice."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.triggers.base import TriggerEvent
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tradewind.operators.arrival import AGAIN, ArrivalTrigger, Look, Watch, look_at
from tradewind.plan.model import Arrival
from tradewind_runtime import leases
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.pins import Ends
from tradewind_runtime.contract.sources import KafkaSource
from tradewind_runtime.documents import Documents
from tradewind_runtime.sources.unread import unread_of

NOW = datetime(2013, 6, 1, tzinfo=UTC)


def after(**more: float) -> datetime:
    return NOW + timedelta(**more)


def test_enough_is_enough_at_once_and_few_have_to_wait() -> None:
    watch = Watch(100, timedelta(minutes=15))
    assert watch.due(Look(0), NOW) is None
    assert watch.due(Look(99), NOW) is None
    assert watch.due(Look(99), after(minutes=14)) is None
    assert watch.due(Look(99), after(minutes=15)) == NOW
    assert Watch(100, timedelta(minutes=15)).due(Look(100), NOW) == NOW


def test_what_has_been_read_meanwhile_waits_no_longer() -> None:
    watch = Watch(100, timedelta(minutes=15))
    assert watch.due(Look(5), NOW) is None
    assert watch.due(Look(0, "r1"), after(minutes=10)) is None
    assert watch.due(Look(5, "r1"), after(minutes=20)) is None, "the first of these came now"
    assert watch.due(Look(5, "r1"), after(minutes=35)) == after(minutes=20)


def test_a_run_is_asked_for_once_until_it_has_pinned_or_never_came() -> None:
    watch = Watch(100, timedelta(minutes=15))
    assert watch.due(Look(200, "r1"), NOW)
    assert watch.due(Look(300, "r1"), after(minutes=1)) is None
    assert watch.due(Look(100, "r2"), after(minutes=2)), "r2 has pinned, and so much has come since"
    assert watch.due(Look(100, "r2"), after(minutes=3)) is None
    assert watch.due(Look(100, "r2"), after(minutes=2) + AGAIN)


def test_who_waits_for_another_run_s_lease_is_not_asked_for_again() -> None:
    watch = Watch(100, timedelta(minutes=15))
    assert watch.due(Look(200, "r1", held=True), NOW)
    assert watch.due(Look(900, "r1", held=True), after(hours=4)) is None
    assert watch.due(Look(900, "r1"), after(hours=4))


class Topic:
    """Of two partitions."""

    def __init__(self, broker: str) -> None:
        self.broker, self.name = broker, f"arrival-{time.time_ns()}"
        admin = AdminClient({"bootstrap.servers": broker})
        admin.create_topics([NewTopic(self.name, 2, 1)])[self.name].result(20)
        self.kafka = KafkaSource(topic=self.name, connection="k")
        self.connection = Connection.parse("k", f"kafka://{broker}")

    def send(self, count: int) -> None:
        producer = Producer({"bootstrap.servers": self.broker})
        for n in range(count):
            producer.produce(self.name, b"{}", partition=n % 2)
        assert producer.flush(20) == 0


@pytest.fixture
def topic(kafka_broker: str) -> Topic:
    return Topic(kafka_broker)


@pytest.mark.server
def test_what_nobody_has_read_is_counted(topic: Topic) -> None:
    assert unread_of(topic.kafka, topic.connection, {}) == 0
    topic.send(10)
    assert unread_of(topic.kafka, topic.connection, {}) == 10
    assert unread_of(topic.kafka, topic.connection, {"0": 5, "1": 2}) == 3
    assert unread_of(topic.kafka, topic.connection, {"0": 5}) == 5, "a partition that was added since"
    assert unread_of(topic.kafka, topic.connection, {"0": 9, "1": 5}) == 5, "made again: a run is to say so"


async def first_event(trigger: ArrivalTrigger) -> TriggerEvent:
    return await anext(aiter(trigger.run()))


@pytest.mark.server
def test_the_trigger_tells_of_the_time_since_the_last_run(
    topic: Topic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def get(id: str) -> AirflowConnection:
        return AirflowConnection(
            conn_id=id, conn_type="kafka", host="127.0.0.1", port=int(topic.broker.rpartition(":")[2])
        )

    monkeypatch.setattr(AirflowConnection, "async_get", get)
    lake = (tmp_path / "a lake").as_uri()
    ends = Ends(
        pipeline="p", run_id="r1", created=NOW, until=NOW, sources={"flights": {"0": 1, "1": 0}},
        topics={"flights": topic.name},
    )  # fmt: skip
    Documents(lake).put(Ends.path("p"), ends.model_dump_json().encode())
    arrival = Arrival(source="flights", kafka=topic.kafka.model_dump(mode="json"), enough=5, wait=900, poll=0.2)
    made = ArrivalTrigger(lake, pipeline="p", arrival=arrival.model_dump(mode="json"))
    path, words = made.serialize()
    assert path.endswith(type(made).__name__)
    topic.send(6)
    began = datetime.now(UTC)
    event = asyncio.run(asyncio.wait_for(first_event(ArrivalTrigger(**words)), 30))
    assert event.payload["unread"] == 5
    assert datetime.fromisoformat(event.payload["since"]) >= began
    look = look_at("p", arrival, Documents(lake), topic.connection)
    assert look == Look(5, "r1", held=False)
    leases.acquire(Documents(lake), "pipeline-p-train", "p", "r2", lambda _: False)
    assert look_at("p", arrival, Documents(lake), topic.connection).held
    renamed = ends.model_copy(update={"topics": {"flights": "another"}})
    Documents(lake).put(Ends.path("p"), renamed.model_dump_json().encode())
    assert look_at("p", arrival, Documents(lake), topic.connection).unread == 6


@pytest.mark.server
def test_a_broker_and_a_connection_that_are_not_there_are_asked_for_again(
    topic: Topic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, _, port = topic.broker.rpartition(":")
    answers = [AirflowNotFoundException("no such connection"), OSError("no way"), None]

    async def get(id: str) -> AirflowConnection:
        if (error := answers.pop(0) if answers else None) is not None:
            raise error
        return AirflowConnection(conn_id=id, conn_type="kafka", host=host, port=int(port))

    monkeypatch.setattr(AirflowConnection, "async_get", get)
    arrival = {"source": "f", "kafka": topic.kafka.model_dump(mode="json"), "enough": 1, "wait": 9, "poll": 0.1}
    topic.send(2)
    trigger = ArrivalTrigger((tmp_path / "a lake").as_uri(), pipeline="p", arrival=arrival)
    event = asyncio.run(asyncio.wait_for(first_event(trigger), 30))
    assert (event.payload["unread"], answers) == (2, [])


def test_a_plan_of_a_former_version_is_read() -> None:
    """Runs that are under way and those that are cleared keep to theirs."""
    former = {"source": "flights", "kafka": {"topic": "f"}, "messages": 5, "wait": 900.0, "poll": 10.0}
    assert Arrival.model_validate(former).enough == 5


def test_who_may_wait_for_objects_is_not_asked_for_again_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("n\n1\n")
    objects = {"uri": f"file://{tmp_path}/in/*.csv"}
    arrival = Arrival(source="a", objects=objects, enough=1, wait=900, poll=10)
    documents = Documents((tmp_path / "lake").as_uri())
    patient = arrival.model_copy(update={"waits": True})
    assert [look_at("p", one, documents, None).held for one in (arrival, patient)] == [False, True]


def test_a_key_that_no_run_can_name_is_told_as_a_run_tells_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad\udcff.csv").write_text("n\n1\n")
    arrival = {"source": "a", "objects": {"uri": f"file://{tmp_path}/in/*"}, "enough": 1, "wait": 900, "poll": 60}
    trigger = ArrivalTrigger((tmp_path / "lake").as_uri(), pipeline="p", arrival=arrival)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(first_event(trigger), 2))
    said = capsys.readouterr().out
    assert r"in/bad\xff.csv' has in it what is not UTF-8" in said
    assert "fix: rename it" in said
