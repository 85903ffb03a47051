"""Kafka: the topic is read once more, offsets only, up to where the table is.

Where the table keeps rows for a while only, messages are decoded too, for they say how old they are.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from tradewind_runtime.contract.sources import KafkaSource, Source
from tradewind_runtime.lake import Table
from tradewind_runtime.reconcile import NONE, Asked, Positions
from tradewind_runtime.reconcile.retained import Retained, messages_before
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.kafka import kafka_of
from tradewind_runtime.sources.kafka_client import TIMEOUT, consumer_of, partitions, settings_of, topic_id, watermarks
from tradewind_runtime.sources.kafka_progress import Progress, batches
from tradewind_runtime.sources.kafka_rows import Messages, Rows
from tradewind_runtime.sources.partitions import origin, partition_of, place, transaction


def asked(source: Source, access: Access, table: Table, version: int | None) -> Iterator[Asked]:
    """Each partition of the topic, and those that it had when they were read."""
    kafka = kafka_of(source)
    with consumer_of(kafka, access.connection) as consumer:
        there = partitions(consumer, kafka)
        ids = {p: transaction(kafka.topic, p) for p in there}
        now = _positions(table, ids.values(), version)
        bounds = {p: watermarks(consumer, kafka, p) for p in there}
        if _another(kafka, access, table, version, there):
            yield from (Asked(place(kafka.topic, p), NONE, unread=last) for p, (_, last) in bounds.items())
            yield from _gone(kafka.topic, max(there) + 1, table, version)
            return
        begun = _begun(kafka, table, version)
        since = {p: max(bounds[p][0], begun.get(id, 0)) for p, id in ids.items()}
        ends = {p: min(end, bounds[p][1]) for p, id in ids.items() if (end := now[id]) is not None}
        retained = Retained.of(access.lake, table, version)
        spans, ages = retained.spans(ids.values()), _Ages.of(source, access, retained)
        given = _given(consumer, kafka, since, ends, ages)
        lasting = not _compacted(kafka, access)
        for p, id in ids.items():
            read, last = now[id] or 0, bounds[p][1]
            unread = max(last - max(since[p], read), 0)
            # Compaction takes nothing from the end: a topic that is shorter than it was is another one.
            yield Asked(
                place(kafka.topic, p), given.get(p, NONE), since[p], read, unread, lasting=lasting or last < read,
                old=ages.of_partition(p), span=spans[id],
            )  # fmt: skip
    yield from _gone(kafka.topic, max(there) + 1, table, version)


def _another(kafka: KafkaSource, access: Access, table: Table, version: int | None, there: Iterable[int]) -> bool:
    """Whether the topic is another one than the table has read, of the same name."""
    now = topic_id(kafka, access.connection)
    known = _positions(table, [origin(kafka.topic, p) for p in there], version)
    return now is not None and not {None, now} >= set(known.values())


def _positions(table: Table, ids: Iterable[str], version: int | None) -> dict[str, int | None]:
    return dict.fromkeys(ids) if version is None else table.positions(ids, version)


def _gone(topic: str, first: int, table: Table, version: int | None) -> Iterator[Asked]:
    """Partitions that the table knows and the topic has no more."""
    for p in itertools.count(first):
        id = transaction(topic, p)
        if _positions(table, [id], version)[id] is None:
            return
        yield Asked(place(topic, p), NONE)


def _begun(kafka: KafkaSource, table: Table, version: int | None) -> dict[str, int]:
    """Where reading began: with `start: latest` the first commit has no rows of what was there, and says where it was.

    A table of a version of Tradewind that did not tell it began no later than at the first move that is told.
    """
    if kafka.start == "earliest" or version is None:
        return {}
    found: dict[str, int] = {}
    for commit in reversed(table.history(version)):
        first = not found and all(move.before is None for move in commit.moves.values())
        for id, move in commit.moves.items():
            if id not in found:
                found[id] = move.before if move.before is not None else move.after if first else 0
    return found


@dataclass(frozen=True)
class _Ages:
    """Finds the messages that are older than their table keeps them."""

    retained: Retained
    rows: Rows | None  # None where no time that a message says counts
    found: defaultdict[int, list[Positions]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, source: Source, access: Access, retained: Retained) -> _Ages:
        return cls(retained, Rows.of(source, access, retained.raw.schema()) if retained.times else None)

    def see(self, batch: Messages) -> None:
        """Some of the topic."""
        places, offsets = np.array(batch.partitions), np.array(batch.offsets, np.int64)
        old = messages_before(batch.times, self.retained.messages)
        if self.rows is not None:
            rows = self.retained.old(self.rows.made(batch)[0])
            numbers = np.array([partition_of(one)[1] for one in rows["_source"].to_pylist()])
            for p in np.unique(numbers):
                self.found[int(p)].append(np.asarray(rows["_position"], np.int64)[numbers == p])
        for p in np.unique(places[old]):
            self.found[int(p)].append(offsets[old & (places == p)])

    def of_partition(self, p: int) -> Positions:
        return np.concatenate([NONE, *self.found[p]])


def _given(
    consumer: Consumer, kafka: KafkaSource, since: Mapping[int, int], ends: Mapping[int, int], ages: _Ages
) -> dict[int, Positions]:
    """The offsets that have a message, by partition."""
    progress = Progress(kafka, {}, chunk_rows=2**62, before={p: min(since[p], end) for p, end in ends.items()})
    for p, end in ends.items():
        progress.begin(p, end, (0, end))
    consumer.assign([TopicPartition(kafka.topic, p, progress.next[p]) for p in progress.open])
    found: defaultdict[int, list[Positions]] = defaultdict(list)
    while progress.open:  # a chunk's bytes are bounded
        for batch in batches(consumer, progress):
            places, offsets = np.array(batch.partitions), np.array(batch.offsets, np.int64)
            for p in np.unique(places):
                found[int(p)].append(offsets[places == p])
            ages.see(batch)
    return {p: np.concatenate(parts) for p, parts in found.items()}


def _compacted(kafka: KafkaSource, access: Access) -> bool:
    """Whether messages may go from the middle of the topic; also where the broker does not tell us."""
    resource = ConfigResource(ResourceType.TOPIC, kafka.topic)
    admin = AdminClient(settings_of(kafka, access.connection))
    try:
        answer = admin.describe_configs([resource], request_timeout=TIMEOUT)
        return "compact" in answer[resource].result()["cleanup.policy"].value
    except KafkaException:
        return True
