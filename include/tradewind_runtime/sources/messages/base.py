"""Messages decoded many at once, into typed columns; those that cannot be read singled out, with a reason each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tradewind_runtime.sources.columns import conform
from tradewind_runtime.sources.newcolumns import Columns, NewColumnError

Part = tuple[pa.Table, np.ndarray]  # rows, and the indexes of their messages
TOMBSTONE = "no content (a tombstone)"


class UnreadableError(Exception):
    """At least one of these messages is not of the format."""


@dataclass(frozen=True)
class Group:
    """Messages, and their indexes among all that were given."""

    contents: list[bytes]
    indexes: np.ndarray


@dataclass
class Decoder(ABC):
    """Decodes messages into columns, which it may add to as it goes."""

    columns: Columns

    @property
    def schema(self) -> pa.Schema:
        """The columns as they are by now."""
        return self.columns.schema

    def decode(self, messages: Sequence[bytes | None]) -> tuple[pa.Table, np.ndarray, dict[int, str]]:
        """Rows, their indexes among the messages, and a reason for each of the others.

        Raises:
            NewColumnError: with the index of the first message that has a column which it must not.
        """
        refused: dict[int, str] = {}
        parts = [self._known(part, refused) for part in self._parts(messages, refused)]
        self.columns.first = self.columns.first and not any(len(indexes) for _, indexes in parts)
        tables, kept = [], []
        for table, indexes in parts:
            good = conform(table, self.schema)
            refused |= {int(indexes[row]): reason for row, reason in good.refused.items()}
            tables.append(good.rows)
            kept.append(indexes[good.kept])
        rows = pa.concat_tables(tables) if tables else self.schema.empty_table()
        order = np.concatenate(kept) if kept else np.array([], dtype=np.int64)
        return rows, order, refused

    @abstractmethod
    def _parts(self, messages: Sequence[bytes | None], refused: dict[int, str]) -> Iterator[Part]:
        """Rows of any types, and their messages' indexes; the others' reasons go to `refused`."""

    def _known(self, part: Part, refused: dict[int, str]) -> Part:
        """Without the rows that have columns which they must not."""
        table, indexes = part
        try:
            wrong = self.columns.meet(table)
        except NewColumnError as error:
            raise NewColumnError(int(indexes[error.row]), error.column) from None
        return without(part, wrong, refused)


def halved(
    group: Group,
    read: Callable[[list[bytes]], pa.Table],
    reason: Callable[[bytes, UnreadableError], str],
    refused: dict[int, str],
) -> Iterator[Part]:
    """What a parser reads that refuses all where one is broken: they are halved until the broken ones stand alone.

    Args:
        group: messages that may be readable.
        read: gives one row a message, or raises UnreadableError.
        reason: why one message was refused, in words for people; the decision has been taken already.
        refused: is given the reasons, by index.
    """
    if not group.contents:
        return
    try:
        table = read(group.contents)
    except UnreadableError as error:
        if len(group.contents) == 1:
            refused[int(group.indexes[0])] = reason(group.contents[0], error)
            return
        half = len(group.contents) // 2
        for part in (slice(half), slice(half, None)):
            yield from halved(Group(group.contents[part], group.indexes[part]), read, reason, refused)
        return
    yield table, group.indexes


def present(messages: Sequence[bytes | None], refused: dict[int, str]) -> Group:
    """All that have a content."""
    indexes = [index for index, message in enumerate(messages) if message is not None]
    if len(indexes) < len(messages):
        refused |= {index: TOMBSTONE for index, message in enumerate(messages) if message is None}
    return Group([messages[index] or b"" for index in indexes], numbers(indexes))


def column(values: Sequence[Any], kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """An array of a type, and the indexes of the values that are none of it: null there."""
    try:
        found = pa.array(values, kind)
        if pa.types.is_decimal(kind):
            found.validate(full=True)  # one of too many digits would else become another number
        return found, []
    except _NO_VALUE:
        wrong = [index for index, value in enumerate(values) if not _is_one(value, kind)]
        kept: list[Any] = list(values)
        for index in wrong:
            kept[index] = None
        return pa.array(kept, kind), wrong


_NO_VALUE = (pa.ArrowException, OverflowError, ValueError, TypeError)


def _is_one(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind).validate(full=True)
    except _NO_VALUE:
        return False
    return True


def without(part: Part, wrong: Mapping[int, str], refused: dict[int, str]) -> Part:
    """A part without some rows, whose reasons go to `refused` by their messages' indexes."""
    if not wrong:
        return part
    table, indexes = part
    refused |= {int(indexes[row]): reason for row, reason in wrong.items()}
    kept = np.delete(np.arange(len(indexes)), sorted(wrong))
    return table.take(pa.array(kept)), indexes[kept]


def not_of_its_type(name: str) -> str:
    """Why a message is refused for a field's value."""
    return f"field {name}: a value that is none of its type"


def numbers(indexes: Sequence[int]) -> np.ndarray:
    """As arrays have them."""
    return np.array(indexes, dtype=np.int64)
