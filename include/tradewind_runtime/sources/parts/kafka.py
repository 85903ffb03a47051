"""A topic in parts: ranges of offsets, at most one of each partition in a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Table
from tradewind_runtime.sources import Access, Chunk
from tradewind_runtime.sources.kafka import begun, chunks, kafka_of
from tradewind_runtime.sources.kafka_client import consumer_of, watermarks
from tradewind_runtime.sources.kafka_progress import Progress
from tradewind_runtime.sources.kafka_rows import Rows
from tradewind_runtime.sources.partitions import transaction
from tradewind_runtime.sources.parts import Share

Ranges = dict[int, tuple[int, int]]  # partition → from this offset to before that one
LEAST = 20_000  # offsets that are worth a process of their own


def shares(source: Source, access: Access, end: Mapping[str, int], table: Table, pieces: int) -> Iterator[Share]:
    """Each of so many times the offsets that a chunk has.

    Raises:
        StepError: TW524, TW525 as in one process.
    """
    with consumer_of(kafka_of(source), access.connection) as consumer:
        progress = begun(consumer, source, access, end, table)
    while progress.moves():
        most = max(1, access.chunk_rows * pieces // max(1, len(progress.open)))
        ranges = {p: (progress.next[p], min(progress.next[p] + most, progress.end[p])) for p in sorted(progress.open)}
        for partition, (_, upto) in ranges.items():
            progress.seen(partition, upto)
        moves = progress.moves()
        known = None if ranges else Rows.of(source, access, table.schema()).schema
        yield Share(cut(ranges, pieces), moves, progress.marks(moves), schema=known)
        progress.committed(progress.next)


def cut(ranges: Ranges, pieces: int) -> list[Ranges]:
    """The same offsets in at most so many parts of about one size."""
    size = max(LEAST, -(-sum(upto - start for start, upto in ranges.values()) // pieces))
    found: list[Ranges] = []
    room = 0
    for partition, (start, upto) in ranges.items():
        at = start
        while at < upto:
            if room == 0:
                found.append({})
                room = size
            taken = min(room, upto - at)
            found[-1][partition] = (at, at + taken)
            at, room = at + taken, room - taken
    return found


def read(source: Source, access: Access, part: Ranges, have: pa.Schema | None) -> Iterator[Chunk]:
    """Messages of these ranges."""
    kafka = kafka_of(source)
    names = {partition: transaction(kafka.topic, partition) for partition in part}
    with consumer_of(kafka, access.connection) as consumer:
        before: dict[int, int | None] = {partition: start for partition, (start, _) in part.items()}
        progress = Progress(kafka, names, access.chunk_rows, before=before)
        for partition, (_, upto) in part.items():
            progress.begin(partition, upto, watermarks(consumer, kafka, partition))
        yield from chunks(consumer, progress, Rows.of(source, access, have))
