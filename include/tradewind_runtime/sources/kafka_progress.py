"""Reading a topic's partitions from where the table is to where the run ends, and how far that has come."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import KafkaSource
from tradewind_runtime.history import Advance
from tradewind_runtime.sources.kafka_client import watermarks
from tradewind_runtime.sources.kafka_rows import Messages
from tradewind_runtime.sources.kept import headers_as_json
from tradewind_runtime.sources.partitions import origin

CHUNK_BYTES = 256 * 1024 * 1024  # of messages; they are not held, but staged as they come
#: Messages that are decoded at once, or bytes, about: what is in Python's hands is held twice for a moment.
BATCH, BATCH_BYTES = 4_000, 2 * 1024 * 1024
FIRST = 500  # messages, whose size says how many more are read at once
WAIT = 0.5  # seconds, for messages that are not there yet
PATIENCE = 120.0  # seconds of such waits, one after the other, before the end is reached
_NO_TIMESTAMP = 0  # confluent_kafka.TIMESTAMP_NOT_AVAILABLE

# librdkafka's own names for what is not a failure, or mends itself.
_END, _GONE = KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
_AWAY = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)  # noqa: SLF001

log = logging.getLogger("tradewind")


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
    origins: dict[str, Advance] = field(default_factory=dict)  # which topic it is, where the table does not say it yet

    def begin(self, partition: int, end: int, watermarks: tuple[int, int]) -> None:
        """Where a partition's reading starts.

        Raises:
            StepError: TW524 where offsets to be read are gone, or the topic was made again.
        """
        low, high = watermarks
        before = self.before[partition]
        first_run = all(position is None for position in self.before.values())
        start = before
        if start is None:  # of a partition that was added later everything was asked for
            start = 0 if not first_run else end if self.kafka.start == "latest" else min(low, end)
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

    @property
    def left(self) -> int:
        """How many offsets are still to be read."""
        return sum(self.end[partition] - self.next[partition] for partition in self.open)

    def moves(self, reached: Mapping[int, int] | None = None) -> dict[str, Advance]:
        """What is to be committed, by its transaction's id: up to where reading was then, or is now.

        Partitions that have not moved are among it while they are still to be read.
        """
        upto = self.next if reached is None else reached
        moved = {p for p, position in self.before.items() if position is None or upto[p] > position}
        there = sorted(moved | self.open)
        return {self.names[p]: Advance(self.before[p], upto[p]) for p in there} | {
            id: self.origins[id] for p in there if (id := origin(self.kafka.topic, p)) in self.origins
        }

    def marks(self, moves: Mapping[str, Advance]) -> dict[str, int]:
        """How far the quarantine has been told once it is told of what was refused till then."""
        return {id: move.after for id, move in moves.items() if id not in self.origins}

    def committed(self, reached: Mapping[int, int]) -> None:
        """A chunk is in the table, up to there."""
        self.before, self.origins = dict(reached), {}


def batches(consumer: Consumer, progress: Progress) -> Iterator[Messages]:
    """Messages below the end, as many as a chunk holds."""
    rows = size = 0
    most, count = min(BATCH, progress.chunk_rows), 0
    waited = 0.0  # not by the clock: a step that was paused for minutes has not waited for the broker
    while progress.open and rows < progress.chunk_rows and size < CHUNK_BYTES:
        finished = set(progress.open)
        try:
            wanted = min(count, progress.left)  # the client waits for as many
            found = consumer.consume(wanted, timeout=WAIT) if count else _first(consumer, most, progress.left)
            batch = _sorted(consumer, found, progress)
            for position in consumer.position([TopicPartition(progress.kafka.topic, p) for p in progress.open]):
                progress.seen(position.partition, position.offset)  # below 0 before the first delivery: no progress
            finished -= progress.open
            if finished:
                consumer.incremental_unassign([TopicPartition(progress.kafka.topic, p) for p in finished])
        except KafkaException as error:  # rows are asked for by who stages them, so nobody else would tell it
            raise StepError("TW525", f"Kafka: {error.args[0].str()}", fix="is the broker up?") from error
        waited = 0.0 if found else waited + WAIT
        if waited > PATIENCE:
            raise StepError(
                "TW525",
                f"Kafka sent nothing of {progress.kafka.topic!r} for {PATIENCE:.0f} s",
                fix="is the broker up?",
                got={p: progress.next[p] for p in progress.open},
                expected=str(progress.end),
            )
        if batch.values:
            taken = sum(map(len, filter(None, batch.values)))
            rows, size = rows + len(batch.values), size + taken
            count = _fitting(len(batch.values), taken, most)
            yield batch


def _first(consumer: Consumer, most: int, left: int) -> list[Message]:
    """As many as fit, of messages whose size is not known yet: a few say how many more."""
    found = consumer.consume(min(FIRST, most, left), timeout=WAIT)
    more = min(_fitting(len(found), sum(map(len, found)), most), left) - len(found)
    return found + consumer.consume(more, timeout=WAIT) if found and more > 0 else found


def _fitting(messages: int, taken: int, most: int) -> int:
    """How many messages are decoded at once where so many take so many bytes."""
    return min(most, max(1, BATCH_BYTES * messages // max(1, taken)))


def _sorted(consumer: Consumer, found: list[Message], progress: Progress) -> Messages:
    """The messages that belong to the run; how far each partition has come is noted.

    One column after the other, without a call of ours for each message: that is what costs.
    """
    messages = found
    if any(map(Message.error, found)):
        for message in found:
            if message.error() is not None:
                _event(consumer, message, progress)
        messages = [message for message in found if message.error() is None]
    partitions, offsets = _places(messages)
    reached = dict(zip(partitions, offsets, strict=True))  # the last of each counts
    if any(offset >= progress.end[partition] for partition, offset in reached.items()):
        places = zip(messages, partitions, offsets, strict=True)
        messages = [message for message, partition, offset in places if offset < progress.end[partition]]
        partitions, offsets = _places(messages)
    for partition, offset in reached.items():
        progress.seen(partition, offset + 1)
    keep = progress.kafka.keep
    headers, refused = _headers(messages) if "headers" in keep else ([], {})
    return Messages(
        values=list(map(Message.value, messages)),
        partitions=partitions,
        offsets=offsets,
        times=[None if kind == _NO_TIMESTAMP else time for kind, time in map(Message.timestamp, messages)],
        keys=list(map(Message.key, messages)) if "key" in keep else [],
        headers=headers,
        refused=refused,
    )


def _headers(messages: list[Message]) -> tuple[list[str | None], dict[int, str]]:
    """As JSON; and of messages whose headers cannot be read, why."""
    found: list[str | None] = []
    refused: dict[int, str] = {}
    for index, message in enumerate(messages):
        try:
            found.append(headers_as_json(message.headers()))
        except (SystemError, UnicodeDecodeError):  # the client's C code goes on with what Python's decoding has raised
            found.append(None)
            refused[index] = "a header's name is not UTF-8"
    return found, refused


def _places(messages: list[Message]) -> tuple[list[int], list[int]]:
    """Partitions and offsets, which a message of the broker has."""
    partitions, offsets = list(map(Message.partition, messages)), list(map(Message.offset, messages))
    return cast("list[int]", partitions), cast("list[int]", offsets)


def _event(consumer: Consumer, message: Message, progress: Progress) -> None:
    """What came in a message's place.

    Raises:
        StepError: TW524 where the offset asked for is gone, TW525 for what librdkafka cannot mend by itself.
    """
    error, partition = message.error(), message.partition()
    assert error is not None, "asked of messages with an error only"
    if error.code() == _END and partition is not None:
        progress.seen(partition, message.offset() or 0)
        return
    if error.code() == _GONE and partition is not None:
        low, _ = watermarks(consumer, progress.kafka, partition)
        wanted = progress.next[partition]
        raise StepError(
            "TW524",
            f"{max(low - wanted, 0)} offsets of partition {partition} of {progress.kafka.topic!r} "
            "were deleted while it was read",
            got=f"first offset kept: {low}",
            expected=f"offset {wanted}",
            fix="keep messages longer (retention.ms)",
        )
    if error.retriable() or error.code() in _AWAY:
        log.info("%s: %s; waiting", progress.kafka.topic, error.str())
        return
    raise StepError("TW525", f"Kafka: {error.str()}", got=error.name(), fix="see the connection and the broker's log")
