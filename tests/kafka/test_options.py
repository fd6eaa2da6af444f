"""The names that users of kafka-python know, and what librdkafka makes of them."""

import socket

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.kafka import KafkaPublisher
from eventpost.kafka.options import PublisherOptions, connection_of, producer_settings
from eventpost.queues.kafka.settings import client_settings


def settings(options: PublisherOptions) -> dict[str, object]:
    connection = connection_of("b-1:9092", options)
    return client_settings(connection, socket.gethostname()) | producer_settings(connection)


def test_each_name_has_its_meaning() -> None:
    """Each option reaches the producer as what kafka-python means by it."""
    found = settings(
        {"client_id": "radio", "request_timeout_ms": 9_000, "retries": 3, "acks": 1, "linger_ms": 7}
    )

    assert found["client.id"] == "radio"
    assert found["delivery.timeout.ms"] == 9_000
    assert found["retries"] == 3
    assert found["acks"] == "1"
    assert found["linger.ms"] == 7
    assert found["enable.idempotence"] is False


def test_defaults() -> None:
    """Without options: the host's name, all replicas, no duplicates by retries."""
    found = settings({})

    assert found["client.id"] == socket.gethostname()
    assert (found["acks"], found["enable.idempotence"]) == ("all", True)
    assert found["delivery.timeout.ms"] == 15_000


@pytest.mark.parametrize(("acks", "wanted"), [(-1, "all"), (0, "0"), (1, "1"), ("all", "all")])
def test_acks_as_numbers(acks: object, wanted: str) -> None:
    """kafka-python's numbers are taken, and no others."""
    assert settings({"acks": acks})["acks"] == wanted  # type: ignore[typeddict-item]  # what users write


def test_no_retries_and_idempotence() -> None:
    """A producer that never tries again cannot be idempotent, and says no more than it can."""
    assert settings({"retries": 0})["enable.idempotence"] is False


@pytest.mark.parametrize(("time_ms", "is_taken"), [(99, False), (100, True), (300_000, True)])
def test_the_bounds_of_a_time(time_ms: int, *, is_taken: bool) -> None:
    """A record's time is from 100 ms to five minutes."""
    if is_taken:
        KafkaPublisher("songs", bootstrap_servers="b-1:9092", request_timeout_ms=time_ms).close()
    else:
        with pytest.raises(InvalidRequest):
            KafkaPublisher("songs", bootstrap_servers="b-1:9092", request_timeout_ms=time_ms)
