"""How much of a topic nobody has read, asked with Kafka's client alone."""

from __future__ import annotations

from collections.abc import Mapping

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.sources import KafkaSource
from tradewind_runtime.sources.kafka_client import consumer_of, partitions, watermarks


def unread_of(kafka: KafkaSource, broker: Connection, read: Mapping[str, int]) -> int:
    """Offsets of the topic beyond what was pinned; markers of transactions are among them.

    Args:
        kafka: the source.
        broker: its connection.
        read: partition → the end that was pinned; empty before the first run.

    Raises:
        StepError: TW525 where the broker cannot be asked.
    """
    unread = 0
    with consumer_of(kafka, broker) as consumer:
        for partition in partitions(consumer, kafka):
            low, high = watermarks(consumer, kafka, partition)
            start = read.get(str(partition), low)
            # One that ends before what was pinned was made again: a run is to say so.
            unread += high - (low if start > high else max(start, low))
    return unread
