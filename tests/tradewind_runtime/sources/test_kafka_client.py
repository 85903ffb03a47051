"""What the broker's client does by itself."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from tradewind_runtime.contract.sources import KafkaSource
from tradewind_runtime.sources.kafka_client import watermarks


class Answers:
    """Of a broker, one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            raise KafkaException(KafkaError(answer))
        low, high = answer
        return low, high


def test_a_leader_that_is_only_just_chosen_is_waited_for() -> None:
    asked: Any = Answers(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, (3, 7))
    assert watermarks(asked, KafkaSource(topic="t"), 0) == (3, 7)


def test_another_refusal_is_told_at_once() -> None:
    asked: Any = Answers(KafkaError.TOPIC_AUTHORIZATION_FAILED, (3, 7))
    with pytest.raises(KafkaException):
        watermarks(asked, KafkaSource(topic="t"), 0)
    assert asked.answers == [(3, 7)]
