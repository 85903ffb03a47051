"""Who produces while the soak goes on, and what each knows of what was delivered."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import obstore
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from obstore.exceptions import BaseError
from obstore.store import from_url

from bench.soak.world import LANDING, TOPIC

PAUSE = 0.1  # seconds between two batches
BROKEN = 0.01  # share of the messages that nobody can read


@dataclass
class Ledger:
    """What the broker and the store have confirmed; each message bears a number of its own."""

    numbers: Iterator[int] = field(default_factory=itertools.count)
    good: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    aborted: set[int] = field(default_factory=set)
    open: list[set[int]] = field(default_factory=list)  # of transactions whose end nobody was told
    objects: dict[str, list[int]] = field(default_factory=dict)  # key → the rows of its last version
    versions: int = 0
    errors: list[str] = field(default_factory=list)

    def message(self, chance: random.Random) -> tuple[int, bytes]:
        """A new one."""
        number = next(self.numbers)
        if chance.random() < BROKEN:
            return number, b"broken %d" % number
        return number, json.dumps({"id": number, "note": "x" * chance.randrange(200)}).encode()

    def delivered(self, numbers: set[int], broken: set[int]) -> None:
        """These are in the topic for good."""
        self.good |= numbers - broken
        self.broken |= numbers & broken


class _Producing(threading.Thread):
    """A thread that goes on until it is stopped; what ends it early is told."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        super().__init__(daemon=True)
        self.ledger, self.chance, self.stopped = ledger, random.Random(seed), threading.Event()

    def run(self) -> None:
        """Until it is stopped."""
        try:
            self.produce()
        except Exception as error:
            self.ledger.errors.append(f"{type(self).__name__}: {type(error).__name__} {error}")

    @abstractmethod
    def produce(self) -> None:
        """What it does."""


class Plain(_Producing):
    """Idempotent, without transactions."""

    def __init__(self, ledger: Ledger, broker: str, seed: int) -> None:
        super().__init__(ledger, seed)
        self.client = Producer(
            {"bootstrap.servers": broker, "enable.idempotence": True, "linger.ms": 20, "message.timeout.ms": 600_000,
             "log_level": 0, "log.connection.close": False}
        )  # fmt: skip

    def produce(self) -> None:
        """Some messages at a time; the broker's word is what counts."""
        while not self.stopped.wait(PAUSE):
            for _ in range(self.chance.randrange(60)):
                number, content = self.ledger.message(self.chance)
                self.client.produce(TOPIC, content, key=str(number), on_delivery=self._delivered)
            self.client.poll(0)
        if left := self.client.flush(300):
            self.ledger.errors.append(f"{left} messages were never delivered")

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        number = int(message.key() or b"-1")
        if error is not None:
            self.ledger.errors.append(f"message {number}: {error.str()}")
            return
        broken = {number} if (message.value() or b"").startswith(b"broken") else set()
        self.ledger.delivered({number}, broken)


class Transactional(_Producing):
    """Transactions, of which a part is aborted."""

    def __init__(self, ledger: Ledger, broker: str, seed: int) -> None:
        super().__init__(ledger, seed)
        self.settings = {
            "bootstrap.servers": broker, "transactional.id": f"soak-{seed}", "transaction.timeout.ms": 60_000,
            "linger.ms": 5, "log_level": 0, "log.connection.close": False,
        }  # fmt: skip

    def produce(self) -> None:
        """One after the other; a client that is beyond help gives way to a new one of the same id."""
        while not self.stopped.is_set():
            with suppress(KafkaException):
                self._as(Producer(self.settings))
        last = Producer(self.settings)  # whatever a client that was beyond help has left open is aborted by this
        _again(lambda: last.init_transactions(60))

    def _as(self, client: Producer) -> None:
        _again(lambda: client.init_transactions(60))
        while not self.stopped.wait(PAUSE):
            self._transaction(client)

    def _transaction(self, client: Producer) -> None:
        messages = [self.ledger.message(self.chance) for _ in range(self.chance.randrange(1, 80))]
        numbers = {number for number, _ in messages}
        broken = {number for number, content in messages if content.startswith(b"broken")}
        wanted = self.chance.random() < 0.7
        self.ledger.open.append(numbers)
        client.begin_transaction()
        for number, content in messages:
            client.produce(TOPIC, content, key=str(number))
        client.poll(0)
        try:
            _again(lambda: client.commit_transaction(60) if wanted else client.abort_transaction(60))
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            _again(lambda: client.abort_transaction(60))
            wanted = False
        self.ledger.open.remove(numbers)
        if wanted:
            self.ledger.delivered(numbers, broken)
        else:
            self.ledger.aborted |= numbers


def _again(call: Any, seconds: float = 300) -> None:
    """While the client says that it may be tried again."""
    until = time.monotonic() + seconds
    while True:
        try:
            call()
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > until:
                raise
        else:
            return


class Objects(_Producing):
    """CSV objects, new ones and some written again."""

    def __init__(self, ledger: Ledger, options: dict[str, Any], seed: int) -> None:
        super().__init__(ledger, seed)
        self.store = from_url(f"s3://{LANDING}", **options)

    def produce(self) -> None:
        """One at a time, put until the store has taken it."""
        while not self.stopped.wait(5 * PAUSE):
            known = list(self.ledger.objects)
            again = known and self.chance.random() < 0.3
            key = self.chance.choice(known) if again else f"in/{next(self.ledger.numbers):09d}.csv"
            rows = [next(self.ledger.numbers) for _ in range(self.chance.randrange(1, 200))]
            content = "\n".join(["id,note", *(f"{number},x" for number in rows), ""]).encode()
            while True:
                try:
                    obstore.put(self.store, key, content)
                    break
                except (BaseError, OSError):
                    time.sleep(0.5)
            self.ledger.objects[key], self.ledger.versions = rows, self.ledger.versions + 1


@contextmanager
def producing(threads: list[_Producing]) -> Iterator[None]:
    """All of them, until the block ends; then whatever was begun is ended."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stopped.set()
        for thread in threads:
            thread.join(400)
