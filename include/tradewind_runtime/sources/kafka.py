"""Kafka: a topic by offset. The table's transactions are the only memory of what was read, not a consumer group."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import KafkaSource, Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Table
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.sources import Access, Chunk
from tradewind_runtime.sources.kafka_client import consumer_of, partitions, watermarks
from tradewind_runtime.sources.kafka_rows import Messages, Rows
from tradewind_runtime.sources.kept import headers_as_json
from tradewind_runtime.sources.partitions import place, transaction

CHUNK_BYTES = 128 * 1024 * 1024
BATCH = 10_000  # messages that are decoded at once
PATIENCE = 120.0  # seconds without any message before the end is reached
_NO_TIMESTAMP = 0  # confluent_kafka.TIMESTAMP_NOT_AVAILABLE

# librdkafka's own names for what is not a failure, or mends itself.
_END, _GONE = KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
_AWAY = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)  # noqa: SLF001

log = logging.getLogger("tradewind")


def end_position(source: Source, access: Access) -> dict[str, int]:
    """The last stable offset (or the high watermark, read uncommitted) of each partition."""
    kafka = kafka_of(source)
    with consumer_of(kafka, access.connection) as consumer:
        return {str(p): watermarks(consumer, kafka, p)[1] for p in partitions(consumer, kafka)}


def read(source: Source, access: Access, end: Mapping[str, int], table: Table) -> Iterator[Chunk]:
    """Messages from the table's positions up to the pinned end."""
    kafka = kafka_of(source)
    names = {int(partition): transaction(kafka.topic, int(partition)) for partition in end}
    before = table.positions(names.values())
    with consumer_of(kafka, access.connection) as consumer:
        progress = Progress(kafka, names, access.chunk_rows, before={p: before[name] for p, name in names.items()})
        for partition, last in sorted((int(p), int(last)) for p, last in end.items()):
            progress.begin(partition, last, watermarks(consumer, kafka, partition))
        if not progress.moves():
            return
        rows = Rows.of(source, access, table)
        consumer.assign([TopicPartition(kafka.topic, p, progress.next[p]) for p in progress.open])
        while progress.moves():
            yield _chunk(batches(consumer, progress), rows, progress)
            progress.committed()
        if out := rows.columns.left_out:
            log.info("%s: left out, since no table can hold them: %s", kafka.topic, ", ".join(sorted(out)))


@dataclass
class Progress:
    """How far each partition has been read: `before` in the table, `next` to read, `end` as pinned."""

    kafka: KafkaSource
    names: Mapping[int, str]
    chunk_rows: int
    before: dict[int, int | None]
    next: dict[int, int] = field(default_factory=dict)
    end: dict[int, int] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    def begin(self, partition: int, end: int, watermarks: tuple[int, int]) -> None:
        """Where a partition's reading starts.

        Raises:
            StepError: TW524 where offsets to be read are gone, or the topic was made again.
        """
        low, high = watermarks
        before = self.before[partition]
        first_run = all(position is None for position in self.before.values())
        start = before
        if start is None:  # a partition that was added later has nothing that was not asked for
            start = end if first_run and self.kafka.start == "latest" else min(low, end)
        if max(start, end) > high:
            raise StepError(
                "TW524",
                f"partition {partition} of {self.kafka.topic!r} ends at {high}, before what was read or pinned",
                retryable=False,
                got=f"end {high}",
                expected=f"at least {max(start, end)}",
                fix="was the topic made again? Read the new one as a source of another name",
            )
        if start < low and start < end:
            raise StepError(
                "TW524",
                f"{min(low, end) - start} offsets of partition {partition} of {self.kafka.topic!r} are gone unread",
                retryable=False,
                got=f"first offset kept: {low}",
                expected=f"offset {start}",
                fix="keep messages longer than runs are apart (retention.ms); to go on without those, "
                "read the topic as a source of another name",
            )
        self.next[partition], self.end[partition] = start, end
        if start < end:
            self.open.add(partition)

    def seen(self, partition: int, offset: int) -> None:
        """Everything below the offset has been read; at the end, the end itself is the position."""
        if partition not in self.open:
            return
        self.next[partition] = min(max(self.next[partition], offset), self.end[partition])
        if self.next[partition] >= self.end[partition]:
            self.open.discard(partition)

    def moves(self) -> dict[int, Advance]:
        """What is to be committed, or still to be read."""
        moved = {p for p, position in self.before.items() if position is None or self.next[p] > position}
        return {p: Advance(self.before[p], self.next[p]) for p in sorted(moved | self.open)}

    def committed(self) -> None:
        """The last chunk is in the table."""
        self.before = dict(self.next)


def batches(consumer: Consumer, progress: Progress) -> Iterator[Messages]:
    """Messages below the end, as many as a chunk holds."""
    rows = size = 0
    patience = time.monotonic() + PATIENCE
    while progress.open and rows < progress.chunk_rows and size < CHUNK_BYTES:
        finished = set(progress.open)
        found = consumer.consume(min(BATCH, progress.chunk_rows), timeout=0.5)
        batch = _sorted(found, progress)
        for position in consumer.position([TopicPartition(progress.kafka.topic, p) for p in progress.open]):
            progress.seen(position.partition, position.offset)  # below 0 before the first delivery: no progress
        finished -= progress.open
        if finished:
            consumer.incremental_unassign([TopicPartition(progress.kafka.topic, p) for p in finished])
        if found:
            patience = time.monotonic() + PATIENCE
        elif time.monotonic() > patience:
            raise StepError(
                "TW525",
                f"Kafka sent nothing of {progress.kafka.topic!r} for {PATIENCE:.0f} s",
                fix="is the broker up?",
                got={p: progress.next[p] for p in progress.open},
                expected=str(progress.end),
            )
        if batch.values:
            rows += len(batch.values)
            size += sum(len(value) for value in batch.values if value)
            yield batch


def _sorted(found: list[Message], progress: Progress) -> Messages:
    """The messages that belong to the run; how far each partition has come is noted."""
    batch, ends, reached = Messages(), progress.end, dict[int, int]()
    keeps_key, keeps_headers = "key" in progress.kafka.keep, "headers" in progress.kafka.keep
    for message in found:
        partition, offset = message.partition(), message.offset()
        if message.error() is not None:
            _event(message, progress)
            continue
        assert partition is not None, "a message of the broker has its place"
        assert offset is not None, "a message of the broker has its place"
        reached[partition] = offset + 1
        if offset < ends[partition]:
            kind, stamp = message.timestamp()
            batch.values.append(message.value())
            batch.partitions.append(partition)
            batch.offsets.append(offset)
            batch.times.append(None if kind == _NO_TIMESTAMP else stamp)
            if keeps_key:
                batch.keys.append(message.key())
            if keeps_headers:
                batch.headers.append(headers_as_json(message.headers()))
    for partition, offset in reached.items():
        progress.seen(partition, offset)
    return batch


def _event(message: Message, progress: Progress) -> None:
    """What came in a message's place.

    Raises:
        StepError: TW524 where the offset asked for is gone, TW525 for what librdkafka cannot mend by itself.
    """
    error, partition = message.error(), message.partition()
    assert error is not None, "asked of messages with an error only"
    if error.code() == _END and partition is not None:
        progress.seen(partition, message.offset() or 0)
        return
    if error.code() == _GONE:
        raise StepError(
            "TW524",
            f"an offset of partition {partition} of {progress.kafka.topic!r} was deleted while it was read",
            got=error.str(),
            expected=f"offset {progress.next.get(-1 if partition is None else partition)}",
            fix="keep messages longer (retention.ms)",
        )
    if error.retriable() or error.code() in _AWAY:
        log.info("%s: %s; waiting", progress.kafka.topic, error.str())
        return
    raise StepError("TW525", f"Kafka: {error.str()}", got=error.name(), fix="see the connection and the broker's log")


def _chunk(batches: Iterator[Messages], rows: Rows, progress: Progress) -> Chunk:
    tables: list[pa.Table] = []
    bad: list[Bad] = []
    for batch in batches:
        table, refused = rows.made(batch)
        tables.append(table)
        bad += [_bad(batch, index, reason, progress) for index, reason in sorted(refused.items())]
    whole = rows.together(tables)
    moves = progress.moves()
    return Chunk(
        schema=whole.schema,
        rows=whole.to_batches(),
        bad=bad,
        positions={progress.names[p]: move for p, move in moves.items()},
        marks={progress.names[p]: move.after for p, move in moves.items()},
    )


def _bad(batch: Messages, index: int, reason: str, progress: Progress) -> Bad:
    partition, offset = batch.partitions[index], batch.offsets[index]
    return Bad(
        place(progress.kafka.topic, partition), offset, reason, batch.values[index], progress.names[partition], offset,
        time=batch.times[index],
        key=batch.keys[index] if batch.keys else None,
        headers=batch.headers[index] if batch.headers else None,
    )  # fmt: skip


def kafka_of(source: Source) -> KafkaSource:
    """A source of this kind."""
    assert source.kafka is not None
    return source.kafka
