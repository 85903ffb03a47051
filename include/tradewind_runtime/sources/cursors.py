"""A column that only grows, by which a source tells what is new: its values as positions, which are whole numbers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.replacing import Replace

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NEVER = -(2**62)  # a position before all: there is none any more, and a table keeps its positions
WEST = timedelta(hours=12)  # by so much later than in UTC a day ends where it ends last


@dataclass(frozen=True)
class Cursor:
    """A cursor of whole numbers, or of times: then positions are microseconds since 1970."""

    name: str
    kind: pa.DataType
    overlap: timedelta

    @classmethod
    def of(cls, name: str, overlap: timedelta, schema: pa.Schema) -> Cursor:
        """Of a source whose rows have these columns.

        Raises:
            StepError: TW527 where there is no such column, or it is neither of whole numbers nor of times.
        """
        kind = schema.field(name).type if name in schema.names else None
        if kind is None or not (pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            raise StepError(
                "TW527", f"the cursor {name!r} is no column of whole numbers or times", retryable=False,
                got="no such column" if kind is None else str(kind), expected="an integer, a timestamp or a date",
                fix="name another column",
            )  # fmt: skip
        # A day goes on after a run has read it, so its last one is always read again.
        return cls(name, kind, max(overlap, DAY) if pa.types.is_date(kind) else overlap)

    @property
    def of_days(self) -> bool:
        """Whether it is of dates: one value stands for a whole day."""
        return bool(pa.types.is_date(self.kind))

    @property
    def counts(self) -> bool:
        """Whether it is of numbers."""
        return bool(pa.types.is_integer(self.kind))

    def number(self, value: Any) -> int:
        """A value as a position."""
        if isinstance(value, datetime):
            moment = value if value.tzinfo else value.replace(tzinfo=UTC)
            return (moment - EPOCH) // timedelta(microseconds=1)
        if isinstance(value, date):
            return (value - EPOCH.date()) // timedelta(microseconds=1)
        return int(value)

    def positions(self, values: pa.Array) -> pa.Array:
        """The same of a column."""
        if not self.counts:
            values = pc.cast(values, pa.timestamp("us", self.kind.tz if pa.types.is_timestamp(self.kind) else None))
        return pc.cast(values, pa.int64())

    def value(self, position: int) -> datetime | int:
        """A position as a value."""
        return position if self.counts else EPOCH + timedelta(microseconds=position)

    def first(self, before: int) -> int:
        """The position beyond which rows are read, where they were read up to another before."""
        if self.counts:
            return before - round(self.overlap.total_seconds())
        return before - self.overlap // timedelta(microseconds=1)

    def day_over(self, moment: int) -> int:
        """The last day, of a cursor of dates, that is over at a moment wherever it may be one."""
        return self.number((EPOCH + timedelta(microseconds=moment) - WEST).date() - DAY)

    def finds(self, columns: pa.Schema) -> bool:
        """Whether rows can be found in a table with these columns by their value."""
        return self.name in columns.names and _alike(columns.field(self.name).type, self.kind)

    def require(self, columns: pa.Schema) -> None:
        """See that rows which are read again can be found in the table.

        Raises:
            StepError: TW527 where they cannot.
        """
        kind = columns.field(self.name).type if self.name in columns.names else None
        if not self.overlap or self.finds(columns):
            return
        raise StepError(
            "TW527", f"rows that are read again are found by the cursor {self.name!r}, which the table has not",
            retryable=False, got="no such column" if kind is None else str(kind), expected=str(self.kind),
            fix="add it to columns, with this type",
        )  # fmt: skip

    def again(self, before: int) -> Replace | None:
        """The rows that give way to those that are read again."""
        first = self.first(before)
        return None if first == before else Replace(self.name, self.value(first + 1), self.value(before + 1))


def number_of(*words: str | None) -> int:
    """What tells these words from others, as a position."""
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:6])


def _alike(kind: pa.DataType, other: pa.DataType) -> bool:
    """Both of whole numbers, or both of times; a date would not tell which part of a day is read again."""
    times = (pa.types.is_timestamp(one) or pa.types.is_date(one) for one in (kind, other))
    if pa.types.is_date(kind) and pa.types.is_timestamp(other):
        return False
    return all(times) or bool(pa.types.is_integer(kind) and pa.types.is_integer(other))
