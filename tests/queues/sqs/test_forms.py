"""Messages to and from SQS: what travels as what, and what is refused before it is sent."""

from typing import Any

import pytest

from eventpost.core.outcomes import Failed, Fault
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import AttributeValue, Message
from eventpost.queues.sqs.forms import (
    ATTRIBUTE_NAME_CHARS_MAX,
    ATTRIBUTES_MAX,
    DELAY_S_MAX,
    GROUP_CHARS_MAX,
    LEASE_S_MAX,
    MESSAGE_BYTES_MAX,
    Entry,
    Receipt,
    entry,
    lease_s,
    received,
    whole_seconds,
)


def sent(message: Message, *, is_fifo: bool = False, group: str = "") -> dict[str, Any]:
    found = entry(message, is_fifo=is_fifo, group=group)
    assert isinstance(found, Entry), found
    return found.members


def refused(message: Message, *, is_fifo: bool = False, final: bool = True) -> Failed:
    found = entry(message, is_fifo=is_fifo)
    assert isinstance(found, Failed), found
    assert found.final is final
    assert not found.is_counted
    assert found.evidence.system == "sqs"
    return found


def test_a_message_travels_as_it_is() -> None:
    """The body goes out as its text, and nothing is added that was not given."""
    assert sent(Message(body="Köln \U0001f3b8".encode())) == {"MessageBody": "Köln \U0001f3b8"}


@pytest.mark.parametrize(
    ("value", "as_sent"),
    [
        ("blues", {"DataType": "String", "StringValue": "blues"}),
        (b"\0\xff", {"DataType": "Binary", "BinaryValue": b"\0\xff"}),
        (7, {"DataType": "Number", "StringValue": "7"}),
        (-0.5, {"DataType": "Number", "StringValue": "-0.5"}),
        (True, {"DataType": "String", "StringValue": "true"}),
    ],
)
def test_attributes_have_a_type(value: AttributeValue, as_sent: dict[str, Any]) -> None:
    """Text is a String, bytes are Binary, numbers are a Number."""
    assert sent(Message(body=b"x", attributes={"a": value}))["MessageAttributes"]["a"] == as_sent


@pytest.mark.parametrize("value", ["", b"", "\x01", float("nan"), float("inf"), 1e126])
def test_values_that_sqs_refuses(value: AttributeValue) -> None:
    """A value that SQS would refuse with the whole request is refused alone."""
    found = refused(Message(body=b"x", attributes={"a": value}))

    assert "attribute a" in found.evidence.detail


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "x" * ATTRIBUTE_NAME_CHARS_MAX, "awsome"])
def test_names_of_attributes(name: str) -> None:
    """Letters, digits, points, dashes and underscores make a name."""
    assert name in sent(Message(body=b"x", attributes={name: "v"}))["MessageAttributes"]


@pytest.mark.parametrize(
    "name",
    ["", ".a", "a.", "a..b", "a b", "ä", "AWS.x", "amazon.x", "x" * (ATTRIBUTE_NAME_CHARS_MAX + 1)],
)
def test_names_that_sqs_refuses(name: str) -> None:
    """A name that SQS would refuse is refused, and told."""
    found = refused(Message(body=b"x", attributes={name: "v"}))

    assert found.evidence.code == "InvalidAttributes"
    assert classify(found.evidence) == "EP4113"


@pytest.mark.parametrize("count", [ATTRIBUTES_MAX - 1, ATTRIBUTES_MAX])
def test_as_many_attributes_as_sqs_takes(count: int) -> None:
    """As many attributes as SQS takes go out."""
    attributes: dict[str, AttributeValue] = {f"a{i}": "v" for i in range(count)}

    assert len(sent(Message(body=b"x", attributes=attributes))["MessageAttributes"]) == count


def test_one_attribute_too_many() -> None:
    """One more is refused; a content type counts, because it travels as an attribute."""
    attributes: dict[str, AttributeValue] = {f"a{i}": "v" for i in range(ATTRIBUTES_MAX)}
    found = refused(Message(body=b"x", attributes=attributes, content_type="text/plain"))

    assert found.evidence.detail == "the message has 11 attributes, of at most 10"


@pytest.mark.parametrize(
    "char", ["\t", "\n", "\r", " ", "\ud7ff", "\ue000", "\ufffd", "\U0010ffff"]
)
def test_characters_that_sqs_takes(char: str) -> None:
    """The ends of the ranges that SQS allows go out."""
    assert sent(Message(body=char.encode()))["MessageBody"] == char


@pytest.mark.parametrize("char", ["\0", "\x08", "\x0b", "\x1f", "\ufffe", "\uffff"])
def test_characters_that_sqs_refuses(char: str) -> None:
    """A character outside of them is named, with its place."""
    found = refused(Message(body=f"ab{char}".encode()))

    assert found.evidence.code == "InvalidMessageContents"
    assert f"U+{ord(char):04X}" in found.evidence.detail
    assert "(at 2)" in found.evidence.detail


@pytest.mark.parametrize(("body", "told"), [(b"", "empty"), (b"ab\xff", "not UTF-8 (byte 2)")])
def test_bodies_that_are_no_text(body: bytes, told: str) -> None:
    """An empty body and bytes that are no text are refused, and told apart."""
    assert told in refused(Message(body=body)).evidence.detail


@pytest.mark.parametrize("size", [MESSAGE_BYTES_MAX - 1, MESSAGE_BYTES_MAX])
def test_the_largest_message(size: int) -> None:
    """A message may be as large as SQS says: body, and of each attribute name, type and value."""
    attribute = len("name") + len("Binary") + 3
    found = entry(
        Message(body=b"x" * (size - attribute), attributes={"name": b"abc"}), is_fifo=False
    )

    assert isinstance(found, Entry)
    assert found.size == size


def test_a_larger_message() -> None:
    """One byte more is refused as too large, with both numbers."""
    found = refused(Message(body=b"x" * (MESSAGE_BYTES_MAX + 1)))

    assert (found.evidence.fault, found.evidence.code) == (Fault.TOO_LARGE, "MessageTooLong")
    assert found.evidence.detail == "the message has 1048577 bytes, of at most 1048576"


# --- order and delay ------------------------------------------------------------------------------


def test_fifo() -> None:
    """On a FIFO queue the group and the deduplication id travel; on a standard one the group does,
    and shares the queue fairly."""
    message = Message(body=b"x", group="g", deduplication_id="d")

    order = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
    assert sent(message, is_fifo=True) == {"MessageBody": "x", **order}
    assert sent(message) == {"MessageBody": "x", "MessageGroupId": "g"}


def test_the_group_of_messages_that_name_none() -> None:
    """A FIFO queue's own group stands in for a missing one; a standard queue needs none."""
    assert sent(Message(body=b"x"), is_fifo=True, group="all")["MessageGroupId"] == "all"
    assert "MessageGroupId" not in sent(Message(body=b"x"), group="all")
    found = refused(Message(body=b"x"), is_fifo=True, final=False)
    assert found.evidence.code == "MissingParameter"


@pytest.mark.parametrize("group", ["g" * GROUP_CHARS_MAX, "!", "~", "a/b:c"])
def test_groups(group: str) -> None:
    """A group is printed ASCII, as long as SQS allows."""
    assert sent(Message(body=b"x", group=group), is_fifo=True)["MessageGroupId"] == group


@pytest.mark.parametrize("group", ["g" * (GROUP_CHARS_MAX + 1), "a b", "ä"])
def test_groups_that_sqs_refuses(group: str) -> None:
    """A group that SQS would refuse is refused; so is a deduplication id of that form."""
    refused(Message(body=b"x", group=group), is_fifo=True)
    refused(Message(body=b"x", group="g", deduplication_id=group), is_fifo=True)


@pytest.mark.parametrize(("delay_s", "as_sent"), [(0.2, 1), (1, 1), (1.5, 2), (900, DELAY_S_MAX)])
def test_delays(delay_s: float, as_sent: int) -> None:
    """A delay is whole seconds, and never shorter than asked for."""
    assert sent(Message(body=b"x", delay_s=delay_s))["DelaySeconds"] == as_sent


def test_delays_that_sqs_refuses() -> None:
    """A longer delay is refused, and any delay on a FIFO queue, which takes none of a message."""
    assert "900.5 s" in refused(Message(body=b"x", delay_s=DELAY_S_MAX + 0.5)).evidence.detail
    assert "FIFO" in refused(Message(body=b"x", group="g", delay_s=1), is_fifo=True).evidence.detail
    assert "DelaySeconds" not in sent(Message(body=b"x", group="g"), is_fifo=True)


# --- received -------------------------------------------------------------------------------------


def test_a_received_message() -> None:
    """What SQS says of a message stands where the interface has it."""
    message = received(
        {
            "MessageId": "m-1",
            "ReceiptHandle": "r-1",
            "Body": "Köln",
            "Attributes": {
                "ApproximateReceiveCount": "3",
                "SentTimestamp": "1767225600000",
                "MessageGroupId": "g",
            },
            "MessageAttributes": {
                "text": {"DataType": "String.label", "StringValue": "v"},
                "number": {"DataType": "Number", "StringValue": "7"},
                "bytes": {"DataType": "Binary.png", "BinaryValue": b"\0"},
                "content-type": {"DataType": "String", "StringValue": "text/plain"},
            },
        },
        12.0,
        30,
    )

    assert (message.id, message.body) == ("m-1", "Köln".encode())
    assert message.receipt == Receipt("r-1", 12.0)
    assert message.attributes == {"text": "v", "number": "7", "bytes": b"\0"}
    assert message.content_type == "text/plain"
    assert (message.receive_count, message.sent_ms, message.group) == (3, 1767225600000, "g")
    assert message.system_attributes["ApproximateReceiveCount"] == "3"
    assert message.lease_until_s == 42.0


def test_a_received_message_that_says_little() -> None:
    """What is missing is empty, and no message is lost over it."""
    message = received({"MessageId": "m", "ReceiptHandle": "r"}, 1.0, 1)

    assert (message.body, message.attributes, message.receive_count) == (b"", {}, 0)


def test_a_binary_content_type_is_an_attribute() -> None:
    """An attribute of that name that is no text stays one."""
    value = {"DataType": "Binary", "BinaryValue": b"x"}
    message = received(
        {"MessageId": "m", "ReceiptHandle": "r", "MessageAttributes": {"content-type": value}},
        1.0,
        1,
    )

    assert (message.content_type, message.attributes) == ("", {"content-type": b"x"})


@pytest.mark.parametrize(
    ("held_s", "granted"),
    [
        (0, LEASE_S_MAX),
        (0.1, LEASE_S_MAX - 1),
        (LEASE_S_MAX - 60, 60),
        (LEASE_S_MAX, 0),
        (50_000, 0),
    ],
)
def test_leases_of_a_message_together(held_s: float, granted: int) -> None:
    """All leases of a message together are bounded, from when it was handed out."""
    assert lease_s(LEASE_S_MAX, Receipt("r", 100.0), 100.0 + held_s) == granted
    assert lease_s(30, Receipt("r", 100.0), 100.0 + held_s) == min(30, granted)


@pytest.mark.parametrize(
    ("seconds", "whole"),
    [(-1, 0), (0, 0), (0.01, 1), (60, 60), (43_200, 43_200), (43_200.5, 43_200)],
)
def test_leases_are_whole_seconds(seconds: float, whole: int) -> None:
    """Seconds are rounded up, and cut to what SQS allows."""
    assert whole_seconds(seconds, LEASE_S_MAX) == whole
