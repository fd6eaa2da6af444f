"""What tests of the publisher have in common: an event, clocks, a context, and what arrived."""

import time
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.services.kafka import Kafka
from tests.services.kafka_clients import CALL_S_MAX, plain_settings
from tests.services.service import fresh_name

EVENT = {"type": "song.played", "source": "/radio", "data": {"title": "Blue"}}


class Clocks:
    """Time that passes with the real one, and jumps when a test says that the process slept."""

    def __init__(self) -> None:
        self.jump_s = 0.0
        self.monotonic_jump_s = 0.0

    def now_s(self) -> float:
        return time.time() + self.jump_s

    def monotonic_s(self) -> float:
        return time.monotonic() + self.monotonic_jump_s


class Context:
    """A Lambda context with so much time left."""

    def __init__(self, left_ms: int) -> None:
        self._left_ms = left_ms

    def get_remaining_time_in_millis(self) -> int:
        return self._left_ms


def records(kafka: Kafka, topic: str, wanted_count: int) -> list[Any]:
    """The first records of the topic, and no fewer."""
    consumer = Consumer(plain_settings(kafka) | {"group.id": fresh_name("group")})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        found = consumer.consume(wanted_count, CALL_S_MAX)
    finally:
        consumer.close()
    assert len(found) == wanted_count
    return found


def record_count(kafka: Kafka, topic: str) -> int:
    """All that ever came into a topic of one partition."""
    consumer = Consumer(plain_settings(kafka) | {"group.id": fresh_name("group")})
    try:
        found = consumer.get_watermark_offsets(TopicPartition(topic, 0), CALL_S_MAX)
    finally:
        consumer.close()
    return int(found[1])


def connections(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if text.startswith("connect to")]
