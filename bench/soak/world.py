"""A broker and a store of the soak's own, which are killed by -9 and come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic
from tests.servers import buckets

from tradewind.dev.running import Running, start
from tradewind.dev.servers.kafka import Kafka
from tradewind.dev.servers.s3 import S3

TOPIC, LANDING, LAKE = "orders", "landing", "lake"


@dataclass
class World:
    """Both servers, and how often each was away."""

    broker: Running[Kafka]
    store: Running[S3]
    # One thread that lives as long: a server ends with the thread that has started it.
    starts: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    away: dict[str, int] = field(default_factory=lambda: {"broker": 0, "store": 0})
    failed: list[str] = field(default_factory=list)
    back: float = 0.0  # when the last of them came back
    _coming: Future[None] | None = None

    @property
    def interrupted(self) -> int:
        """How often one of them was away."""
        return sum(self.away.values())

    @property
    def connections(self) -> dict[str, str]:
        """Airflow's, by id."""
        kafka = self.broker.server.connections()["kafka_default"]
        return {"kafka_default": kafka, "s3_default": self.store.server.connections()["s3_default"]}

    def interrupt(self, which: str, seconds: float) -> None:
        """Kill one of them, and start it again so much later, while everybody goes on."""
        self.settle()
        self.away[which] += 1
        self._coming = self.starts.submit(self._interrupt, which, seconds)

    def _interrupt(self, which: str, seconds: float) -> None:
        running = getattr(self, which)
        try:
            running.kill()
            time.sleep(seconds)
            setattr(self, which, start(running.server))
            self.back = time.monotonic()
        except Exception as error:  # a thread's own would be lost
            self.failed.append(f"{which}: {error}")

    def troubled(self, began: float) -> bool:
        """Whether one of them has been away since then, or a moment before."""
        return self.back > began - 30 or (self._coming is not None and not self._coming.done())

    def settle(self) -> None:
        """Until nobody is away."""
        if self._coming is not None:
            self._coming.result()


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Started, with a topic of three partitions and two buckets."""
    with start(Kafka.at(folder / "kafka", heap_mb=384)) as broker, start(S3.at(folder / "s3")) as store:
        admin = AdminClient({"bootstrap.servers": broker.server.address})
        admin.create_topics([NewTopic(TOPIC, 3, 1)])[TOPIC].result(30)
        for bucket in (LANDING, LAKE):
            buckets.make(store.server, bucket)
        found = World(broker, store)
        try:
            yield found
        finally:
            found.settle()
            for running in (found.broker, found.store):  # those that were started again
                running.stop()
            found.starts.shutdown()
