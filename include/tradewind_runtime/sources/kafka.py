"""Kafka: a topic by offset. The table's transactions are the only memory of what was read, not a consumer group."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

from tradewind_runtime.contract.sources import KafkaSource, Source
from tradewind_runtime.lake import Table
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.sources import Access, Chunk
from tradewind_runtime.sources.kafka_client import consumer_of, partitions, watermarks
from tradewind_runtime.sources.kafka_progress import Progress, batches
from tradewind_runtime.sources.kafka_rows import Messages, Rows
from tradewind_runtime.sources.partitions import place, transaction
from tradewind_runtime.staging import ROW_GROUP

GROUP_BYTES = 8 * 1024 * 1024  # of rows that are written at once

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
        chunks = _Chunks(consumer, progress, rows)
        while progress.moves():
            yield chunks.next()
            progress.committed(chunks.reached)
        if out := rows.columns.left_out:
            log.info("%s: left out, since no table can hold them: %s", kafka.topic, ", ".join(sorted(out)))


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
        group: list[pa.Table] = []
        for number, one in enumerate(chain(begun, rest)):
            if number >= len(begun) and self.rows.schema != chunk.schema:
                self._waiting = one
                break
            self.reached = one.reached
            chunk.bad.extend(one.bad)
            group.append(one.table)
            if sum(table.num_rows for table in group) >= ROW_GROUP or sum(map(_size, group)) >= GROUP_BYTES:
                yield from self._together(group, chunk)
                group = []
        else:
            self.reached = dict(self.progress.next)  # beyond the last message, where nothing but markers is
        yield from self._together(group, chunk)
        chunk.positions.update(self.progress.moves(self.reached))
        chunk.marks.update({id: move.after for id, move in chunk.positions.items()})

    def _together(self, group: list[pa.Table], chunk: Chunk) -> list[pa.RecordBatch]:
        return self.rows.together(group, chunk.schema).to_batches() if group else []


def _size(table: pa.Table) -> int:
    return int(table.nbytes)


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
