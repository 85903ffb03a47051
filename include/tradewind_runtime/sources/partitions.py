"""What a partition is called: by the rows that came from it, and by the table that keeps its position."""

from __future__ import annotations


def place(topic: str, partition: int) -> str:
    """As rows name it."""
    return f"{topic}-{partition}"


def partition_of(place: str) -> tuple[str, int]:
    """Topic and number of what rows name so; a number of -1 where no partition is named so."""
    topic, _, number = place.rpartition("-")
    return topic, int(number) if number.isdecimal() else -1


def transaction(topic: str, partition: int) -> str:
    """The id of its position in a table."""
    return f"kafka:{topic}:{partition}"


def place_of(id: str) -> str | None:
    """As rows name the partition whose transaction this is; None of one that is no partition's."""
    kind, _, rest = id.partition(":")
    topic, _, number = rest.rpartition(":")
    return place(topic, int(number)) if kind == "kafka" and number.isdecimal() else None


def origin(topic: str, partition: int) -> str:
    """The id of what says, beside its position, which topic of that name it is of."""
    return f"{transaction(topic, partition)}@topic"
