"""A publisher for functions that are frozen, on a real broker."""

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from eventpost.core.errors import InvalidEvent, InvalidRequest
from eventpost.core.outcomes import Fault
from eventpost.formats import kafka_binding
from eventpost.kafka import DeliveryFailed, KafkaPublisher
from eventpost.kafka.publisher import PENDING_MAX
from eventpost.queues.kafka.settings import MESSAGE_BYTES_MAX
from tests.kafka.scenes import EVENT, Clocks, Context, connections, records
from tests.services.kafka import PASSWORD, USER, Kafka
from tests.services.kafka_clients import make_topic
from tests.services.ports import free_ports
from tests.services.running import Running


@pytest.fixture
def publisher(kafka: Kafka, topic: str) -> Iterator[KafkaPublisher]:
    with KafkaPublisher(topic, bootstrap_servers=kafka.address("plain")) as made:
        yield made


# --- what goes ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_event_arrives_as_the_binding_says(
    kafka: Kafka, topic: str, publisher: KafkaPublisher
) -> None:
    """A flushed event is on the topic in binary mode, with what was filled in, under its key."""
    event_id = publisher.publish(EVENT | {"partitionkey": "joni"})
    assert publisher.flush() == 1

    (record,) = records(kafka, topic, 1)
    event = kafka_binding.decode(record.value(), record.headers())
    assert event.id == event_id
    assert record.value() == b'{"title":"Blue"}'
    assert record.key() == b"joni"


@pytest.mark.slow
def test_structured_mode_bytes_and_plain_records(kafka: Kafka, topic: str) -> None:
    """Structured mode keeps an event whole, data may be bytes, and a record may be no event."""
    address = kafka.address("plain")
    with KafkaPublisher(topic, bootstrap_servers=[address], mode="structured") as publisher:
        publisher.publish(EVENT | {"data": b"\xff", "datacontenttype": "audio/ogg"}, key="k")
        publisher.send("", "a song", key="k", headers=[("singer", "joni")])

    event, plain = records(kafka, topic, 2)
    assert b'"data_base64":"/w=="' in event.value()
    assert (plain.value(), plain.headers()) == (b"a song", [("singer", b"joni")])


@pytest.mark.slow
def test_one_connection_serves_many_uses(
    publisher: KafkaPublisher, told: pytest.LogCaptureFixture
) -> None:
    """A second flush goes over the connection of the first."""
    for _ in range(3):
        publisher.publish(EVENT)
        publisher.flush(Context(10_000))

    assert len(connections(told)) == 1
    assert socket.gethostname() in connections(told)[0]


@pytest.mark.slow
@pytest.mark.parametrize("stands_still", [True, False])
def test_a_rested_connection_is_replaced(
    kafka: Kafka, topic: str, told: pytest.LogCaptureFixture, *, stands_still: bool
) -> None:
    """After a rest longer than the bound the producer is a fresh one, whether or not the monotonic
    clock went on, and not after a shorter one."""
    clocks = Clocks()
    publisher = KafkaPublisher(
        topic,
        bootstrap_servers=kafka.address("plain"),
        rest_s_max=60,
        now_s=clocks.now_s,
        monotonic_s=clocks.monotonic_s,
    )
    with publisher:
        for rest_s, connection_count in ((0, 1), (50, 1), (61, 2)):
            clocks.jump_s += rest_s
            clocks.monotonic_jump_s += 0 if stands_still else rest_s
            publisher.publish(EVENT)
            publisher.flush()
            assert len(connections(told)) == connection_count
    assert "it rested for" in connections(told)[1]


@pytest.mark.slow
def test_what_was_not_flushed_survives_a_rest(kafka: Kafka, topic: str) -> None:
    """What was on its way when the process fell asleep is sent by the fresh producer."""
    clocks = Clocks()
    address = kafka.address("plain")
    publisher = KafkaPublisher(
        topic, bootstrap_servers=address, linger_ms=10_000, now_s=clocks.now_s
    )
    with publisher:
        publisher.publish(EVENT)
        clocks.jump_s += 3_600
        publisher.publish(EVENT)
        assert publisher.flush() == 2

    assert len(records(kafka, topic, 2)) == 2


# --- what does not go -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_broker_that_is_away_is_told_in_time(topic: str, told: pytest.LogCaptureFixture) -> None:
    """A flush ends within the time that a function has left, with the events and the cause; a
    record's own time would be longer than a test may take."""
    (port,) = free_ports(1)
    with KafkaPublisher(
        topic, bootstrap_servers=f"127.0.0.1:{port}", request_timeout_ms=300_000
    ) as publisher:
        ids = [publisher.publish(EVENT) for _ in range(2)]
        with pytest.raises(DeliveryFailed) as failure:
            publisher.flush(Context(2_000))

        assert [event["id"] for event in failure.value.events] == ids
        assert failure.value.code == "EP2004"
        assert failure.value.evidence.fault is Fault.REFUSED
        assert publisher.flush() == 0
    assert sum("delivery failed: EP2004" in text for text in told.messages) == 1
    assert sum("connect failed: EP2004" in text for text in told.messages) == 1


@pytest.mark.slow
def test_what_failed_is_not_sent_later(own_kafka: Running[Kafka]) -> None:
    """A record whose failure was told does not arrive with a later flush as a ghost."""
    kafka = own_kafka.service
    topic = make_topic(kafka)
    with KafkaPublisher(topic, bootstrap_servers=kafka.address("plain")) as publisher:
        publisher.send("", "first")
        publisher.flush()
        own_kafka.kill()
        publisher.send("", "lost")
        with pytest.raises(DeliveryFailed):
            publisher.flush(deadline_s=0.5)
        own_kafka.start()
        publisher.send("", "second")
        assert publisher.flush() == 1

    assert [record.value() for record in records(kafka, topic, 2)] == [b"first", b"second"]


@pytest.mark.slow
def test_a_restarted_broker_loses_nothing(own_kafka: Running[Kafka]) -> None:
    """A broker that comes back within a record's time gets it, and nobody is troubled."""
    kafka = own_kafka.service
    topic = make_topic(kafka)
    with KafkaPublisher(topic, bootstrap_servers=kafka.address("plain")) as publisher:
        publisher.send("", "first")
        publisher.flush()
        own_kafka.restart()
        publisher.send("", "second")
        assert publisher.flush() == 1

    assert len(records(kafka, topic, 2)) == 2


@pytest.mark.slow
def test_some_go_and_some_do_not(kafka: Kafka, topic: str, publisher: KafkaPublisher) -> None:
    """A failure names what did not go, and counts what did."""
    publisher.send("", b"x" * (MESSAGE_BYTES_MAX + 1))
    publisher.send("", b"x" * MESSAGE_BYTES_MAX)
    publisher.publish(EVENT)

    with pytest.raises(DeliveryFailed, match="1 of 3 records") as failure:
        publisher.flush()

    (one,) = failure.value.undelivered
    assert (one.event, one.evidence.code) == (None, "MSG_SIZE_TOO_LARGE")
    assert failure.value.delivered_count == 2
    assert len(records(kafka, topic, 2)) == 2


def test_no_time_left_is_no_time_spent(topic: str, kafka: Kafka) -> None:
    """With less time left than the margin a flush ends before any time has passed, and says what
    did not go."""
    with KafkaPublisher(
        topic, bootstrap_servers=kafka.address("plain"), monotonic_s=lambda: 1.0
    ) as publisher:
        publisher.publish(EVENT)
        with pytest.raises(DeliveryFailed) as failure:
            publisher.flush(Context(400))
        assert failure.value.evidence.elapsed_ms == 0


def test_what_is_no_event_is_refused_at_once(kafka: Kafka) -> None:
    """What is no CloudEvent, and what JSON cannot hold, is refused before anything is sent."""
    publisher = KafkaPublisher("songs", bootstrap_servers=kafka.address("plain"))
    with pytest.raises(InvalidEvent, match="source"):
        publisher.publish({"type": "song.played"})
    with pytest.raises(InvalidRequest, match="cannot be written as JSON"):
        publisher.publish(EVENT | {"data": object()})
    with pytest.raises(InvalidRequest, match="no name of a Kafka topic"):
        publisher.publish(EVENT, topic="a topic")
    publisher.close()
    with pytest.raises(InvalidRequest, match="closed"):
        publisher.publish(EVENT)


ODD_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no port": ({"bootstrap_servers": "b-1.example"}, "HOST:PORT"),
    "unknown": ({"retry": 1}, "retry"),
    "acks": ({"acks": 2}, "acks"),
    "half a pair": ({"auth": "plain", "username": "u"}, "lacks its password"),
    "no time": ({"request_timeout_ms": 99}, "request_timeout_ms"),
    "secret": ({"config": {"sasl.password": "x"}}, "secret"),
}


@pytest.mark.parametrize("case", ODD_OPTIONS)
def test_odd_options_are_refused(case: str) -> None:
    """Options that cannot be are refused when the publisher is made, with the option's name."""
    options, said = ODD_OPTIONS[case]
    with pytest.raises(InvalidRequest, match=said):
        KafkaPublisher("songs", **{"bootstrap_servers": "b:1"} | options)


def test_pending_records_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many records wait for a flush; the next one is refused."""
    assert PENDING_MAX == 100_000
    monkeypatch.setattr("eventpost.kafka.publisher.PENDING_MAX", 3)
    (port,) = free_ports(1)
    publisher = KafkaPublisher("songs", bootstrap_servers=f"127.0.0.1:{port}")
    for _ in range(3):
        publisher.publish(EVENT)
    with pytest.raises(InvalidRequest, match="not flushed"):
        publisher.publish(EVENT)
    publisher.close()


@pytest.mark.slow
def test_kafka_pythons_names_count(kafka: Kafka, topic: str) -> None:
    """Options by kafka-python's names have their meaning here; a password is a reference."""
    os.environ["EVENTPOST_TEST_PASSWORD"] = PASSWORD
    try:
        with KafkaPublisher(
            topic,
            bootstrap_servers=[kafka.address("password")],
            client_id="radio",
            request_timeout_ms=9_000,
            retries=3,
            acks=1,
            linger_ms=0,
            auth="plain",
            username=USER,
            password="env:EVENTPOST_TEST_PASSWORD",
            tls=True,
            ca_file=str(kafka.ca_file),
        ) as publisher:
            publisher.publish(EVENT)
            assert publisher.flush() == 1
    finally:
        del os.environ["EVENTPOST_TEST_PASSWORD"]


@pytest.mark.slow
def test_a_process_that_was_stopped_goes_on(kafka: Kafka, topic: str) -> None:
    """A forked child, stopped and continued, publishes over a connection of its own."""
    with KafkaPublisher(topic, bootstrap_servers=kafka.address("plain")) as publisher:
        publisher.send("", "parent")
        publisher.flush()
        child = os.fork()
        if not child:
            code = 1
            try:
                publisher.send("", "child")
                code = 0 if publisher.flush() == 1 else 2
            finally:
                os._exit(code)
        os.kill(child, signal.SIGSTOP)
        os.kill(child, signal.SIGCONT)
        assert os.waitpid(child, 0)[1] == 0

    assert len(records(kafka, topic, 2)) == 2
