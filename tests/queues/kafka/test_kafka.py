"""Kafka on a real broker: the contract of all queues, and what is Kafka's own."""

from collections.abc import Iterator

import pytest

from eventpost.queues.interfaces import Address
from eventpost.queues.kafka import KafkaConnection, KafkaQueue, new_queue
from eventpost.queues.kinds import Services
from eventpost.testing.queue_conformance import QueueConformance, QueueHarness
from tests.services.kafka import Kafka
from tests.services.kafka_clients import make_topic
from tests.services.service import fresh_name


class KafkaHarness(QueueHarness):
    """A fresh topic and group."""

    keeps_content_type = True

    def __init__(self, kafka: Kafka) -> None:
        self._connection = KafkaConnection(bootstrap=(kafka.address("plain"),))
        self._topic = make_topic(kafka)
        self._group = fresh_name("group")
        self._queues: list[KafkaQueue] = []

    def new_queue(self) -> KafkaQueue:
        return self._open(self._topic)

    def missing_queue(self) -> KafkaQueue:
        return self._open(f"{self._topic}-missing")

    def _open(self, topic: str) -> KafkaQueue:
        options = {"group": self._group, "session_timeout_ms": 6_000}
        queue = new_queue(self._connection, Address(name=topic, options=options), Services())
        self._queues.append(queue)
        return queue

    def stop(self) -> None:
        for queue in self._queues:
            queue.close()


@pytest.mark.slow
class TestKafka(QueueConformance):
    @pytest.fixture
    def harness(self, kafka: Kafka) -> Iterator[QueueHarness]:
        with KafkaHarness(kafka) as harness:
            yield harness
