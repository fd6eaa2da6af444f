"""RabbitMQ keeps the contract of queues, on the real server."""

from collections.abc import Iterator

import pytest

from eventpost.testing.queue_conformance import QueueConformance, QueueHarness
from tests.queues.rabbitmq.brokers import RabbitmqHarness
from tests.services.rabbitmq import RabbitMQ


@pytest.mark.slow
class TestQuorum(QueueConformance):
    """A quorum queue, with publishers' ids and with queues for delays."""

    @pytest.fixture
    def harness(self, rabbitmq: RabbitMQ) -> Iterator[QueueHarness]:
        with RabbitmqHarness(
            rabbitmq, queue_type="quorum", message_ids=True, delays_s=[0.5, 2]
        ) as harness:
            yield harness


@pytest.mark.slow
class TestClassic(QueueConformance):
    """A classic queue, as plain as can be."""

    @pytest.fixture
    def harness(self, rabbitmq: RabbitMQ) -> Iterator[QueueHarness]:
        with RabbitmqHarness(rabbitmq, queue_type="classic") as harness:
            yield harness


@pytest.mark.slow
class TestFixedPrefetch(QueueConformance):
    """A classic queue from which messages are taken ahead, up to a bound."""

    @pytest.fixture
    def harness(self, rabbitmq: RabbitMQ) -> Iterator[QueueHarness]:
        with RabbitmqHarness(rabbitmq, queue_type="classic", prefetch=50) as harness:
            yield harness
