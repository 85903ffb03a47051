"""Kafka: the topic is read once more, offsets only, up to where the table is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from tradewind_runtime.contract.sources import KafkaSource, Source
from tradewind_runtime.lake import Table
from tradewind_runtime.reconcile import NONE, Asked, Positions
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.kafka import Progress, batches, kafka_of
from tradewind_runtime.sources.kafka_client import TIMEOUT, consumer_of, partitions, settings_of, watermarks
from tradewind_runtime.sources.partitions import place, transaction


def asked(source: Source, access: Access, table: Table) -> Iterator[Asked]:
    """Each partition of the topic."""
    kafka = kafka_of(source)
    with consumer_of(kafka, access.connection) as consumer:
        ids = {p: transaction(kafka.topic, p) for p in partitions(consumer, kafka)}
        now = table.positions(ids.values())
        bounds = {p: watermarks(consumer, kafka, p) for p in ids}
        since = {p: max(bounds[p][0], _begun(kafka, table, id) if now[id] else 0) for p, id in ids.items()}
        ends = {p: min(end, bounds[p][1]) for p, id in ids.items() if (end := now[id]) is not None}
        given = _given(consumer, kafka, since, ends)
        lasting = not _compacted(kafka, access)
        for p, id in ids.items():
            read = now[id]
            unread = bounds[p][1] - max(since[p], 0 if read is None else read)
            yield Asked(place(kafka.topic, p), given.get(p, NONE), since[p], max(unread, 0), lasting)


def _begun(kafka: KafkaSource, table: Table, id: str) -> int:
    """Where reading began: with `start: latest` its first commit has no rows, and says where."""
    if kafka.start == "earliest":
        return 0
    moves = (commit.moves[id] for commit in reversed(table.history()) if id in commit.moves)
    first = next(moves, None)
    return first.after if first and first.before is None else 0


def _given(
    consumer: Consumer, kafka: KafkaSource, since: Mapping[int, int], ends: Mapping[int, int]
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
