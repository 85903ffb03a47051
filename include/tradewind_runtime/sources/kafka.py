"""Kafka: a topic by offset. The table's transactions are the only memory of what was read, not a consumer group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import KafkaSource, Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Table
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.sources import Access, Chunk
from tradewind_runtime.sources.kafka_client import consumer_of, partitions, topic_id, watermarks
from tradewind_runtime.sources.kafka_progress import Progress, batches
from tradewind_runtime.sources.kafka_rows import Messages, Rows
from tradewind_runtime.sources.newcolumns import tell_left_out
from tradewind_runtime.sources.partitions import origin, place, transaction
from tradewind_runtime.staging import ROW_GROUP, grouped
from tradewind_runtime.widening import together

GROUP_BYTES = 8 * 1024 * 1024  # of rows that are written at once


def end_position(source: Source, access: Access) -> dict[str, int]:
    """The last stable offset (or the high watermark, read uncommitted) of each partition."""
    kafka = kafka_of(source)
    with consumer_of(kafka, access.connection) as consumer:
        return {str(p): watermarks(consumer, kafka, p)[1] for p in partitions(consumer, kafka)}


def read(source: Source, access: Access, end: Mapping[str, int], table: Table) -> Iterator[Chunk]:
    """Messages from the table's positions up to the pinned end."""
    with consumer_of(kafka_of(source), access.connection) as consumer:
        progress = begun(consumer, source, access, end, table)
        if progress.moves():
            yield from chunks(consumer, progress, Rows.of(source, access, table.schema()))


def begun(consumer: Consumer, source: Source, access: Access, end: Mapping[str, int], table: Table) -> Progress:
    """From where each partition is to be read, and how far.

    Raises:
        StepError: TW524 where that cannot be read any more.
    """
    kafka = kafka_of(source)
    names = {int(partition): transaction(kafka.topic, int(partition)) for partition in end}
    before = table.positions(names.values())
    progress = Progress(kafka, names, access.chunk_rows, before={p: before[name] for p, name in names.items()})
    progress.origins = _origins(kafka, access.connection, table, names)
    for partition, last in sorted((int(p), int(last)) for p, last in end.items()):
        progress.begin(partition, last, watermarks(consumer, kafka, partition))
    return progress


def _origins(
    kafka: KafkaSource, connection: Connection | None, table: Table, names: Iterable[int]
) -> dict[str, Advance]:
    """What the table does not say yet of the topic that its positions are of.

    Raises:
        StepError: TW524 where they are of another: it may have as many messages, and others.
    """
    now = topic_id(kafka, connection)
    if now is None:
        return {}
    known = table.positions([origin(kafka.topic, p) for p in names])
    if not {None, now} >= set(known.values()):
        raise StepError(
            "TW524", f"topic {kafka.topic!r} was made again since the table was last brought up to date",
            retryable=False, fix="read the new one as a source of another name",
        )  # fmt: skip
    return {id: Advance(None, now) for id, at in known.items() if at is None}


def chunks(consumer: Consumer, progress: Progress, rows: Rows) -> Iterator[Chunk]:
    """What is to be read, in chunks that are each committed before the next."""
    topic = progress.kafka.topic
    consumer.assign([TopicPartition(topic, p, progress.next[p]) for p in progress.open])
    found = _Chunks(consumer, progress, rows)
    while progress.moves():
        yield found.next()
        progress.committed(found.reached)
    tell_left_out(topic, rows.columns.left_out)


@dataclass(frozen=True)
class _Decoded:
    """A batch as rows, and how far the partitions had been read with it."""

    table: pa.Table
    bad: list[Bad]
    reached: dict[int, int]


class _Chunks:
    """Chunks of rows of one schema each: a batch that brings another begins the next one.

    Rows are decoded as they are asked for, so that memory does not grow with a chunk.
    """

    def __init__(self, consumer: Consumer, progress: Progress, rows: Rows) -> None:
        self.consumer, self.progress, self.rows = consumer, progress, rows
        self.reached = dict(progress.next)  # by the last chunk, once its rows were asked for
        self._waiting: _Decoded | None = None

    def next(self) -> Chunk:
        """One, of which positions and refused messages are known when its rows are."""
        decoded = self._decoded()
        begun: list[_Decoded] = []
        for one in decoded:  # those that nobody can read say nothing of the columns
            begun.append(one)
            if one.table.num_rows:
                break
        chunk = Chunk(schema=self.rows.schema, rows=(), positions={}, marks={})
        return replace(chunk, rows=self._through(begun, decoded, chunk))

    def _decoded(self) -> Iterator[_Decoded]:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            yield waiting
        for batch in batches(self.consumer, self.progress):
            reached = dict(self.progress.next)
            table, refused = self.rows.made(batch)
            bad = [_bad(batch, index, reason, self.progress) for index, reason in sorted(refused.items())]
            yield _Decoded(table, bad, reached)

    def _through(self, begun: list[_Decoded], rest: Iterator[_Decoded], chunk: Chunk) -> Iterator[pa.RecordBatch]:
        for group in grouped(self._own(begun, rest, chunk), ROW_GROUP, GROUP_BYTES):
            yield from together(group, chunk.schema, self.rows.topic).to_batches()
        chunk.positions.update(self.progress.moves(self.reached))
        chunk.marks.update(self.progress.marks(chunk.positions))

    def _own(self, begun: list[_Decoded], rest: Iterator[_Decoded], chunk: Chunk) -> Iterator[pa.Table]:
        """Rows of the chunk's columns; how far they reach is noted."""
        for number, one in enumerate(chain(begun, rest)):
            if number >= len(begun) and self.rows.schema != chunk.schema:
                self._waiting = one
                return
            self.reached = one.reached
            chunk.bad.extend(one.bad)
            yield one.table
        self.reached = dict(self.progress.next)  # beyond the last message, where nothing but markers is


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
