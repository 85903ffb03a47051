"""How serializers of Confluent and their like write: a zero, four bytes of the schema's number, then the content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tradewind_runtime.sources.messages.base import TOMBSTONE, Group, numbers

Writer = TypeVar("Writer")
MAGIC = 0
HEAD = 5  # bytes


def groups(
    messages: Sequence[bytes | None], refused: dict[int, str], writer: Callable[[int], Writer | str]
) -> Iterator[tuple[Writer, Group]]:
    """Messages by their schema.

    Args:
        messages: as Kafka has them.
        refused: is given the reasons of those that have no such head, or a schema that is not to be had.
        writer: number → what the format makes of that schema; or, as a text, why it is none.
    """
    by_number: defaultdict[int, list[int]] = defaultdict(list)
    for index, message in enumerate(messages):
        if message is None:
            refused[index] = TOMBSTONE
        elif len(message) < HEAD or message[0] != MAGIC:
            refused[index] = "does not begin with a zero and a schema's number, as a serializer with a registry writes"
        else:
            by_number[int.from_bytes(message[1:HEAD], "big")].append(index)
    for number, indexes in by_number.items():
        found = writer(number)
        if isinstance(found, str):
            refused |= dict.fromkeys(indexes, found)
            continue
        yield found, Group([(messages[i] or b"")[HEAD:] for i in indexes], numbers(indexes))
