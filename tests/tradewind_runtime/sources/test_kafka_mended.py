"""Messages that a killed attempt has refused and that are good when they are read again: each is in one table."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tests.tradewind_runtime.disturbed import Killed, die, disturb
from tests.tradewind_runtime.steprun import ingest, rows

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.sources import Access, kafka
from tradewind_runtime.verify import verify_table
from tradewind_runtime.widening import fit

pytestmark = pytest.mark.server
BEFORE, MENDED = {"n": "long", "c": "long"}, {"n": "long"}
GOOD, ONCE, BAD = {"n": 1}, {"n": 1, "c": "x"}, {"n": "x"}  # the second is refused by the columns of before alone
RAW, REFUSED = "demo/flights_raw", "demo/flights_quarantine"


class Topic:
    """Of two partitions, and a lake for what it gives."""

    def __init__(self, broker: str, lake: str) -> None:
        self.broker, self.lake, self.name, self.runs = broker, lake, f"mended-{time.time_ns()}", 0
        admin = AdminClient({"bootstrap.servers": broker})
        admin.create_topics([NewTopic(self.name, 2, 1)])[self.name].result(20)

    def send(self, *messages: dict[str, object], partition: int = 0) -> None:
        producer = Producer({"bootstrap.servers": self.broker})
        for message in messages:
            producer.produce(self.name, json.dumps(message), partition=partition)
        assert producer.flush(20) == 0

    def ingest(self, columns: dict[str, str], **more: Any) -> None:
        self.runs += 1
        source = Source.model_validate(
            {"kafka": {"topic": self.name, "connection": "k"}, "columns": columns, "max_bad": 100}
        )
        access = Access(Lake(self.lake), connection=Connection.parse("k", f"kafka://{self.broker}"))
        ingest(self.lake, source, kafka.end_position(source, access), connection="k", run=f"r{self.runs}", **more)

    def held(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Partitions and offsets of rows, and of refused messages."""
        good = [(row["_source"], row["_position"]) for row in rows(self.lake)]
        bad = [(row["source"], row["position"]) for row in rows(self.lake, "flights_quarantine")]
        return self._numbered(good), self._numbered(bad)

    def _numbered(self, places: list[tuple[str, int]]) -> list[tuple[int, int]]:
        return sorted((int(source.removeprefix(f"{self.name}-")), position) for source, position in places)

    def sound(self) -> bool:
        return all(line.ok and line.gaps == 0 for line in verify_table(Lake(self.lake), RAW))


@pytest.fixture
def topic(kafka_broker: str, lake_uri: str, monkeypatch: pytest.MonkeyPatch) -> Topic:
    monkeypatch.setenv("AIRFLOW_CONN_K", f"kafka://{kafka_broker}")
    return Topic(kafka_broker, lake_uri)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What happens before or after the nth commit of a table."""
    whole = Table.commit

    def by(then: Callable[[], object], name: str, nth: int = 1, *, after: bool = False) -> None:
        seen = []

        def commit(self: Table, *given: Any, **more: Any) -> int:
            seen.append(self.name)
            now = self.name == name and seen.count(name) == nth
            if now and not after:
                then()
            version = whole(self, *given, **more)
            if now and after:
                then()
            return version

        monkeypatch.setattr(Table, "commit", commit)

    return by


def killed(topic: Topic, at: Callable[..., None], columns: dict[str, str], *where: Any, **when: Any) -> None:
    at(die, *where, **when)
    with pytest.raises(Killed):
        topic.ingest(columns)
    at(lambda: None, RAW)


@pytest.mark.parametrize("columns", [(BEFORE, MENDED), ({"n": "long"}, {"n": "double"})], ids=["fewer", "wider"])
def test_a_message_that_is_good_now_leaves_the_quarantine(
    topic: Topic, at: Callable[..., None], columns: tuple[dict[str, str], dict[str, str]]
) -> None:
    topic.send(ONCE | {"n": 1 if columns[0] == BEFORE else 1.5}, GOOD)
    killed(topic, at, columns[0], RAW)
    assert topic.held()[1] == [(0, 0)]
    topic.ingest(columns[1])
    assert topic.held() == ([(0, 0), (0, 1)], [])
    assert topic.sound()


def test_what_is_still_refused_stays_with_what_was_refused_before(topic: Topic, at: Callable[..., None]) -> None:
    topic.send(ONCE, GOOD)
    topic.ingest(BEFORE)
    topic.send(ONCE, BAD, GOOD, ONCE)
    topic.send(BAD, ONCE, partition=1)
    killed(topic, at, BEFORE, RAW)
    assert topic.held() == ([(0, 1)], [(0, 0), (0, 2), (0, 3), (0, 5), (1, 0), (1, 1)])
    topic.send(GOOD, BAD, ONCE)
    topic.ingest(MENDED)
    good = [(0, 1), (0, 2), (0, 4), (0, 5), (0, 6), (0, 8), (1, 1)]
    assert topic.held() == (good, [(0, 0), (0, 3), (0, 7), (1, 0)])
    assert topic.sound()


def test_chunks_that_are_smaller_than_the_killed_attempts(topic: Topic, at: Callable[..., None]) -> None:
    topic.send(*[GOOD, ONCE, ONCE] * 3)
    killed(topic, at, BEFORE, RAW)
    topic.ingest(MENDED, chunk=2)
    assert topic.held() == ([(0, n) for n in range(9)], [])
    assert topic.sound()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("table", "nth"), [(REFUSED, 1), (RAW, 1), (REFUSED, 2)])
def test_killed_again_at_each_commit(topic: Topic, at: Callable[..., None], table: str, nth: int, after: bool) -> None:
    topic.send(ONCE, BAD, GOOD)
    killed(topic, at, BEFORE, RAW)
    topic.send(ONCE, BAD)
    killed(topic, at, MENDED, table, nth, after=after)
    topic.ingest(MENDED)
    assert topic.held() == ([(0, 0), (0, 2), (0, 3)], [(0, 1), (0, 4)])
    assert topic.sound()
    version = Lake(topic.lake).table(REFUSED).version()
    topic.ingest(MENDED)
    assert Lake(topic.lake).table(REFUSED).version() == version, "nothing is left to do"


def test_what_is_good_no_longer_is_refused_as_before(topic: Topic, at: Callable[..., None]) -> None:
    """The columns are mended, and changed back before any row was committed."""
    topic.send(ONCE, GOOD)
    killed(topic, at, BEFORE, RAW)
    killed(topic, at, MENDED, RAW)
    topic.ingest(BEFORE)
    assert topic.held() == ([(0, 1)], [(0, 0)])
    assert topic.sound()


@pytest.mark.parametrize("table", [REFUSED, RAW])
def test_a_rival_by_the_older_columns_that_is_first(topic: Topic, at: Callable[..., None], table: str) -> None:
    """For it the message is refused, and so it stays: else it would be nowhere."""
    topic.send(ONCE, GOOD)
    killed(topic, at, BEFORE, RAW)
    topic.send(GOOD)
    at(lambda: topic.ingest(BEFORE), table)
    topic.ingest(MENDED)
    assert topic.held() == ([(0, 1), (0, 2)], [(0, 0)])
    assert topic.sound()


def test_a_rival_by_the_newer_columns_that_is_first(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has made rows of what this one was to refuse."""
    topic.send(ONCE, GOOD)
    raced = []

    def raced_by(table: Table, schema: pa.Schema) -> pa.Schema:
        if not raced:
            raced.append(True)
            topic.ingest(MENDED)
        return fit(table, schema)

    monkeypatch.setattr("tradewind_runtime.steps.ingest.fit", raced_by)
    topic.ingest(BEFORE)
    assert topic.held() == ([(0, 0), (0, 1)], [])
    assert topic.sound()


def test_a_rival_by_the_newer_columns_between_the_commits(topic: Topic, at: Callable[..., None]) -> None:
    """The one by the older columns has refused the message, and is not killed but late."""
    topic.send(ONCE, GOOD)
    at(lambda: topic.ingest(MENDED), RAW)
    topic.ingest(BEFORE)
    assert topic.held() == ([(0, 0), (0, 1)], [])
    assert topic.sound()


def test_a_rival_that_refuses_less_comes_as_far_and_is_killed(topic: Topic, at: Callable[..., None]) -> None:
    """The quarantine is where this one wants it, and has not what this one refuses."""
    topic.send(ONCE, GOOD)

    def rival() -> None:
        killed(topic, at, MENDED, RAW)

    at(rival, REFUSED)
    topic.ingest(BEFORE)
    assert topic.held() == ([(0, 1)], [(0, 0)])
    assert topic.sound()


@pytest.mark.parametrize("table", [REFUSED, RAW])
def test_a_rival_that_refuses_more_and_is_killed(topic: Topic, at: Callable[..., None], table: str) -> None:
    """This one is about to tell the quarantine that there is nothing, or has told it already and goes on."""
    topic.send(ONCE, GOOD)

    def rival() -> None:
        killed(topic, at, BEFORE, RAW)

    at(rival, table)
    topic.ingest(MENDED)
    topic.ingest(MENDED)
    assert topic.held() == ([(0, 0), (0, 1)], [])
    assert topic.sound()


@pytest.mark.parametrize("seed", range(4))
def test_whoever_is_killed_or_comes_in_between(topic: Topic, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """By whichever columns: each message is in one table."""
    chance, sent = random.Random(seed), [0, 0]

    def attempt() -> None:
        topic.ingest(chance.choice([BEFORE, MENDED]), chunk=chance.choice([2, 3, 50]))

    with monkeypatch.context() as patch:
        disturbed = disturb(patch, chance, attempt, deaths=0.12, rivals=0.2)
        for _ in range(8):
            for partition in (0, 1):
                messages = [chance.choice([GOOD, ONCE, ONCE, BAD]) for _ in range(chance.randint(0, 4))]
                topic.send(*messages, partition=partition)
                sent[partition] += len(messages)
            disturbed()
    topic.ingest(MENDED)
    good, bad = topic.held()
    assert sorted(good + bad) == [(partition, at) for partition in (0, 1) for at in range(sent[partition])]
    assert topic.sound()


def test_who_is_killed_and_was_the_only_one_to_know(topic: Topic, at: Callable[..., None]) -> None:
    """Its rows are committed: the next attempt has nothing to read, and sees to what was left."""
    topic.send(ONCE, GOOD)
    killed(topic, at, BEFORE, RAW)
    killed(topic, at, MENDED, RAW, after=True)
    assert topic.held() == ([(0, 0), (0, 1)], [(0, 0)])
    assert not topic.sound(), "verify tells of it"
    topic.ingest(BEFORE)
    assert topic.held() == ([(0, 0), (0, 1)], [])
    assert topic.sound()
