"""The publisher that unit tests use in the place of the real one."""

import inspect

import pytest

from eventpost.core.errors import InvalidEvent, InvalidRequest
from eventpost.kafka import DeliveryFailed, KafkaPublisher
from eventpost.testing import RecordingPublisher

EVENT = {"type": "song.played", "source": "/radio", "data": {"title": "Blue"}}


def test_it_has_what_the_real_one_has() -> None:
    """Whatever a program calls on the real publisher it can call on this one, in the same way."""
    for name in ("publish", "send", "flush", "close", "__enter__", "__exit__"):
        ours, real = getattr(RecordingPublisher, name), getattr(KafkaPublisher, name)
        assert inspect.signature(ours) == inspect.signature(real)


def test_what_was_flushed_is_remembered(recording_publisher: RecordingPublisher) -> None:
    """Events and records are there after a flush with topic, key and headers; before it they are
    pending."""
    event_id = recording_publisher.publish(EVENT | {"partitionkey": "joni"}, topic="songs")
    recording_publisher.send("", "a song", key="k", headers=[("singer", "joni")])
    assert len(recording_publisher.pending) == 2
    assert recording_publisher.published == []

    assert recording_publisher.flush() == 2

    event, plain = recording_publisher.published
    assert (event.topic, event.key, event.value) == ("songs", "joni", b'{"title":"Blue"}')
    assert ("ce_type", b"song.played") in event.headers
    assert [one["id"] for one in recording_publisher.events] == [event_id]
    assert (plain.topic, plain.value, plain.event) == ("events", b"a song", None)


def test_it_fails_when_told(recording_publisher: RecordingPublisher) -> None:
    """A flush that was told to fail names what did not go, and the next one does not fail."""
    recording_publisher.fail_next(1)
    recording_publisher.publish(EVENT)
    lost_id = recording_publisher.publish(EVENT)

    with pytest.raises(DeliveryFailed, match="1 of 2 records") as failure:
        recording_publisher.flush()

    assert [event["id"] for event in failure.value.events] == [lost_id]
    assert recording_publisher.flush() == 0
    recording_publisher.publish(failure.value.events[0])
    assert recording_publisher.flush() == 1
    assert recording_publisher.events[-1]["id"] == lost_id


def test_it_refuses_what_the_real_one_refuses(recording_publisher: RecordingPublisher) -> None:
    """What is no CloudEvent is refused, and nothing goes through a closed one."""
    with pytest.raises(InvalidEvent, match="source"):
        recording_publisher.publish({"type": "t"})
    with recording_publisher:
        recording_publisher.publish(EVENT)
    assert (recording_publisher.flush_count, len(recording_publisher.events)) == (1, 1)
    with pytest.raises(InvalidRequest, match="closed"):
        recording_publisher.publish(EVENT)
