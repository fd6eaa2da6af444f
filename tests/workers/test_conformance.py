"""The brokers on real services, by the public suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventpost.testing.brokers import BrokerConformance, BrokerHarness
from tests.services.azurite import Azurite
from tests.services.kafka import Kafka
from tests.services.moto import Moto
from tests.workers.harnesses import KafkaHarness, SqsHarness, StorageQueueHarness


@pytest.mark.slow
class TestSQSBroker(BrokerConformance):
    @pytest.fixture
    def harness(self, moto: Moto, tmp_path: Path) -> Iterator[BrokerHarness]:
        with SqsHarness(tmp_path, moto) as harness:
            yield harness


@pytest.mark.slow
class TestKafkaBroker(BrokerConformance):
    @pytest.fixture
    def harness(self, kafka: Kafka, tmp_path: Path) -> Iterator[BrokerHarness]:
        with KafkaHarness(tmp_path, kafka) as harness:
            yield harness


@pytest.mark.slow
class TestStorageQueueBroker(BrokerConformance):
    @pytest.fixture
    def harness(self, azurite: Azurite, tmp_path: Path) -> Iterator[BrokerHarness]:
        with StorageQueueHarness(tmp_path, azurite) as harness:
            yield harness
