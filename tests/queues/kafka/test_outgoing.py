"""Records that are made of messages, CloudEvents among them in both modes of their binding."""

import json
from typing import Any

import pytest

from eventpost.core.outcomes import Delivered, Failed
from eventpost.formats import event_messages, kafka_binding
from eventpost.formats.event_messages import CLOUD_EVENT_TYPE
from eventpost.formats.messages import Incoming
from eventpost.queues.interfaces import Message
from eventpost.queues.kafka.outgoing import Record, record
from eventpost.queues.kafka.settings import MESSAGE_BYTES_MAX
from tests.queues.kafka.groups import Group
from tests.services.kafka import Kafka

RECEIVE_S_MAX = 30.0
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/station",
    "type": "Song.Requested",
    "subject": "genre/blues",
    "data": {"title": "Dust My Broom"},
}


def made(message: Message, mode: kafka_binding.Mode = "structured") -> Record:
    found = record("songs", message, mode)
    assert isinstance(found, Record), found
    return found


def cloud_event(**more: Any) -> Message:
    members = {name: value for name, value in (EVENT | more).items() if value is not None}
    return Message(
        body=json.dumps(members).encode(),
        content_type=CLOUD_EVENT_TYPE,
        attributes={"traceparent": "00-1"},
        message_id="1",
    )


def test_structured_mode() -> None:
    """The event is the value byte for byte, and the content type says so."""
    message = cloud_event()

    found = made(message)

    assert found.value == message.body
    assert dict(found.headers) == {
        "content-type": CLOUD_EVENT_TYPE.encode(),
        "message-id": b"1",
        "traceparent": b"00-1",
    }


def test_binary_mode() -> None:
    """The data is the value, every attribute a header, and it is read as the event that it was."""
    found = made(cloud_event(comexampleradio="2"), "binary")

    assert json.loads(found.value or b"") == EVENT["data"]
    headers = dict(found.headers)
    assert headers["content-type"] == b"application/json"
    assert headers["ce_comexampleradio"] == b"2"
    assert headers["message-id"] == b"1"
    assert headers["traceparent"] == b"00-1"
    read = json.loads(kafka_binding.decode(found.value, found.headers).wire)
    assert {name: read[name] for name in EVENT} == EVENT
    assert read["comexampleradio"] == "2"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_through_a_broker(kafka: Kafka, mode: kafka_binding.Mode) -> None:
    """What goes out in either mode comes in as the event that it was, with its key."""
    with Group(kafka, partitions=1, content_mode=mode) as group:
        queue = group.queue()
        [sent] = queue.send([cloud_event(partitionkey="blues")])
        page = queue.receive(1, RECEIVE_S_MAX, 60.0)

    assert isinstance(sent, Delivered), sent
    assert isinstance(page, list), page
    [came] = page
    incoming = Incoming(body=came.body, attributes=came.attributes, content_type=came.content_type)
    read = json.loads(event_messages.structured(incoming) or came.body)
    assert {name: read[name] for name in EVENT} == EVENT
    assert came.group == "blues"
    assert ("ce_id" in came.attributes) is (mode == "binary")


def test_an_event_without_data_has_no_value() -> None:
    """In binary mode such an event is a record without a value."""
    assert made(cloud_event(data=None), "binary").value is None


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_the_key(mode: kafka_binding.Mode) -> None:
    """What the user says is the key, else the event's partition key, else there is none."""
    keyed = cloud_event(partitionkey="blues")
    by_hand = Message(body=keyed.body, content_type=CLOUD_EVENT_TYPE, group="jazz")

    assert made(by_hand, mode).key == b"jazz"
    assert made(keyed, mode).key == b"blues"
    assert made(cloud_event(), mode).key is None
    assert made(cloud_event(data={"partitionkey": "no"}), mode).key is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"data": 1', b"\xff"])
def test_what_calls_itself_an_event_and_is_none(body: bytes) -> None:
    """It goes as it is: a message that is moved is not judged."""
    found = made(Message(body=body, content_type=CLOUD_EVENT_TYPE), "binary")

    assert found.value == body
    assert dict(found.headers) == {"content-type": CLOUD_EVENT_TYPE.encode()}


def test_other_messages_know_no_mode() -> None:
    """What is no CloudEvent goes with its own content type, whatever the mode."""
    message = Message(body=b"{}", content_type="application/json")

    assert made(message, "binary") == made(message)


@pytest.mark.parametrize("mode", ["structured", "binary"])
@pytest.mark.parametrize("beyond", [0, 1])
def test_the_largest_record(mode: kafka_binding.Mode, beyond: int) -> None:
    """A record of exactly the bound goes, one byte more is refused finally; headers count."""
    empty = made(cloud_event(data=""), mode)
    size = len(empty.value or b"") + sum(len(n) + len(v or b"") for n, v in empty.headers)

    found = record("songs", cloud_event(data="x" * (MESSAGE_BYTES_MAX - size + beyond)), mode)

    assert isinstance(found, Failed) is bool(beyond)
    if isinstance(found, Failed):
        assert found.final
        assert found.evidence.code == "MSG_SIZE_TOO_LARGE"


def test_no_record_is_delayed() -> None:
    """A delay is refused finally: nothing comes earlier than was asked."""
    found = record("songs", Message(body=b"x", delay_s=1.0), "structured")

    assert isinstance(found, Failed)
    assert found.evidence.code == "DELAY_NOT_SUPPORTED"
