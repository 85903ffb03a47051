"""Messages of a topic as rows: decoded, with the parts that are kept, and where each is from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.quarantine import LATEST
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.columns import KAFKA_TIMESTAMP, PROVENANCE, TIMESTAMP, conform, known
from tradewind_runtime.sources.kept import Kept
from tradewind_runtime.sources.messages import decoder
from tradewind_runtime.sources.messages.base import Decoder
from tradewind_runtime.sources.newcolumns import Columns, NewColumnError


@dataclass
class Messages:
    """Some of a topic, column by column: calls are what costs, a microsecond a message."""

    values: list[bytes | None] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    times: Sequence[int | None] = ()  # milliseconds
    keys: list[bytes | None] = field(default_factory=list)  # as the next, only where they are kept
    headers: list[str | None] = field(default_factory=list)  # JSON
    refused: dict[int, str] = field(default_factory=dict)  # those that the client could not read whole, and why

    def moments(self) -> pa.Array:
        """The times; null where a producer has written one that none is, as nanoseconds."""
        times = pa.array(self.times, pa.int64())
        least, most = (value.as_py() or 0 for value in pc.min_max(times).values())
        if least < 0 or most > LATEST:
            good = pc.and_(pc.greater_equal(times, 0), pc.less_equal(times, LATEST))
            times = pc.if_else(good, times, pa.scalar(None, pa.int64()))
        return times.cast(pa.timestamp("ms", "UTC"))


@dataclass
class Rows:
    """Makes rows of a topic's messages; its columns may grow and widen as it goes."""

    topic: str
    columns: Columns
    kept: Kept
    decodes: Decoder

    @classmethod
    def of(cls, source: Source, access: Access, have: pa.Schema | None) -> Rows:
        """For a source whose rows go to a table that has these columns."""
        assert source.kafka is not None
        schema = known(source, have)
        kept = Kept.of(source)
        columns = Columns.of(source, kept.without(schema), kept.schema.names)
        return cls(source.kafka.topic, columns, kept, decoder(source, columns, access))

    @property
    def schema(self) -> pa.Schema:
        """Of the rows, by now."""
        return pa.schema([*self.columns.schema, *self.kept.schema, *PROVENANCE, KAFKA_TIMESTAMP])

    def made(self, messages: Messages) -> tuple[pa.Table, dict[int, str]]:
        """Rows, and a reason for each message that gives none.

        Raises:
            StepError: TW529 where one has a column that it must not.
        """
        values = messages.values
        if messages.refused:  # nothing of theirs may say which columns there are
            values = [None if index in messages.refused else value for index, value in enumerate(values)]
        try:
            rows, indexes, refused = self.decodes.decode(values)
        except NewColumnError as error:
            place = f"{self.topic}-{messages.partitions[error.row]} at {messages.offsets[error.row]}"
            raise error.told(place) from None
        refused |= messages.refused
        if self.kept.columns:
            rows, indexes = _with_kept(rows, indexes, refused, messages, self.kept)
        return self._with_provenance(rows, indexes, messages), refused

    def _with_provenance(self, rows: pa.Table, kept: np.ndarray, messages: Messages) -> pa.Table:
        places = pa.array(messages.partitions, pa.int32()).dictionary_encode()
        names = pa.array([f"{self.topic}-{number}" for number in places.dictionary.to_pylist()], pa.string())
        parts = [names.take(places.indices), pa.array(messages.offsets, pa.int64()), messages.moments().cast(TIMESTAMP)]
        if not np.array_equal(kept, np.arange(len(messages.offsets))):  # some are refused, or schemas take turns
            parts = [part.take(pa.array(kept)) for part in parts]
        source, position, moment = parts
        return (
            rows.append_column("_source", source)
            .append_column("_position", position)
            .append_column("_ingested", pa.repeat(pa.scalar(datetime.now(UTC), TIMESTAMP), rows.num_rows))
            .append_column(KAFKA_TIMESTAMP, moment)
        )


def _with_kept(
    rows: pa.Table, indexes: np.ndarray, refused: dict[int, str], messages: Messages, kept: Kept
) -> tuple[pa.Table, np.ndarray]:
    """The rows with the parts that are kept; those whose key is not of its type are refused."""
    parts = kept.table(messages).take(pa.array(indexes))
    good = conform(parts, kept.schema)
    refused |= {int(indexes[row]): reason for row, reason in good.refused.items()}
    if good.refused:
        rows = rows.take(pa.array(good.kept))
    for name in kept.schema.names:
        rows = rows.append_column(name, good.rows[name])
    return rows, indexes[good.kept]
