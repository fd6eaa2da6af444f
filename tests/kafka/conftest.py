"""A topic of one's own, and what the publisher logs."""

import logging

import pytest

from tests.services.kafka import Kafka
from tests.services.kafka_clients import make_topic


@pytest.fixture
def topic(kafka: Kafka) -> str:
    return make_topic(kafka)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "eventpost.kafka")
    return caplog
