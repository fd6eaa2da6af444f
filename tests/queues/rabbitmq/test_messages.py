"""Messages to AMQP frames and back: what goes as what, and what can never go."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from eventpost.core.outcomes import Failed, Fault, Stage
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Address, AttributeValue, Message, Received
from eventpost.queues.kinds import options_of
from eventpost.queues.rabbitmq.deliveries import COUNT_HEADER, unpack
from eventpost.queues.rabbitmq.mending import mended
from eventpost.queues.rabbitmq.messages import Parcel, again, pack
from eventpost.queues.rabbitmq.target import Options, Target, read_target

FRAME_BYTES = 4_096
CHANNEL = 7


def target(name: str = "jobs", **options: Any) -> Target:
    address = Address(name=name, options=options)
    return read_target(address, options_of(address, Options))


def packed(message: Message, to: Target | None = None) -> Parcel:
    parcel = pack(message, to or target())
    assert isinstance(parcel, Parcel), parcel
    return parcel


def refused(message: Message, to: Target | None = None) -> Failed:
    parcel = pack(message, to or target())
    if isinstance(parcel, Parcel):
        encoded = parcel.encoded(CHANNEL, FRAME_BYTES)
        assert isinstance(encoded, Failed), "it would have been sent"
        return encoded
    return parcel


def delivered(
    properties: commands.Basic.Properties, body: bytes = b"", *, redelivered: bool = False
) -> DeliveredMessage:
    """What the client library makes of a delivery; a tag of 1 on no channel."""
    return DeliveredMessage(
        delivery=commands.Basic.Deliver("tag", 1, redelivered, "events", "song.requested"),
        header=ContentHeader(properties=properties, body_size=len(body)),
        body=body,
        channel=None,  # type: ignore[arg-type]  # nothing here asks for it
    )


def through(message: Message, to: Target | None = None) -> Received:
    """As if it had gone through a server."""
    parcel = packed(message, to)
    encoded = parcel.encoded(CHANNEL, FRAME_BYTES)
    assert isinstance(encoded, bytes)
    frames = list(read_frames(encoded))
    header = next(each for each in frames if isinstance(each, ContentHeader))
    body = b"".join(each.value for each in frames if isinstance(each, ContentBody))
    assert len(body) == header.body_size
    return unpack(delivered(header.properties, body), to or target(), None)


def read_frames(data: bytes) -> list[object]:
    found: list[object] = []
    while data:
        count, channel, read = frame.unmarshal(data)
        assert channel == CHANNEL
        assert count <= FRAME_BYTES
        found.append(read)
        data = data[count:]
    return found


# --- sending --------------------------------------------------------------------------------------


def test_what_is_written() -> None:
    """A message is persistent and mandatory, with its id, its time and nothing that expires it."""
    before = datetime.now(UTC)
    parcel = packed(Message(body=b"{}", message_id="m-1", content_type="application/json"))

    properties = parcel.properties
    assert (parcel.exchange, parcel.routing_key, parcel.mandatory) == ("", "jobs", True)
    assert (properties.delivery_mode, properties.message_id) == (2, "m-1")
    assert (properties.priority, properties.expiration) == (None, None)
    assert properties.timestamp is not None
    assert before <= properties.timestamp <= datetime.now(UTC)


def test_only_when_asked() -> None:
    """Priority, expiry, transience and silence about lost messages come only when asked for."""
    to = target(persistent=False, mandatory=False, expiration_s=1.5)

    parcel = packed(Message(body=b"", priority=9), to)

    assert not parcel.mandatory
    properties = parcel.properties
    assert (properties.delivery_mode, properties.priority, properties.expiration) == (1, 9, "1500")


def test_the_routing_key() -> None:
    """A message's own routing key goes before the address's, also an empty one."""
    to = target("events/song")

    keys = [packed(Message(body=b"", routing_key=key), to).routing_key for key in (None, "a", "")]

    assert keys == ["song", "a", ""]


def test_messages_without_an_id_get_one() -> None:
    """Every message has an id on the wire, and no two the same, unless their sender says so."""
    ids = {packed(Message(body=b"")).message_id for _ in range(100)}

    assert len(ids) == 100
    assert "" not in ids


ATTRIBUTES: dict[str, AttributeValue] = {
    "text": "Köln",
    "bytes": b"\0\xff",
    "number": 5,
    "negative": -(2**63),
    "large": 2**63 - 1,
    "larger": 2**63,
    "fraction": 0.1,
    "n" * 128: "",
}


def test_attributes_come_back() -> None:
    """Attributes keep their values: text and bytes as they are, numbers as exact text."""
    received = through(Message(body=b"x", attributes=ATTRIBUTES))

    assert received.attributes == {
        name: value if isinstance(value, bytes | str) else str(value)
        for name, value in ATTRIBUTES.items()
    }


def test_random_messages_come_back() -> None:
    """Bodies of any size and bytes are cut into frames and come back whole."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    edges = [FRAME_BYTES - 8 + more for more in (-1, 0, 1)]
    for size in [0, 1, *edges, 2 * (FRAME_BYTES - 8), dice.randrange(50_000)]:
        body = dice.randbytes(size)

        assert through(Message(body=body)).body == body, f"seed {seed}, size {size}"


@pytest.mark.parametrize(
    ("message", "fine"),
    [
        ({"routing_key": "k" * 256}, {"routing_key": "k" * 255}),
        ({"message_id": "ä" * 128}, {"message_id": "ä" * 127}),
        ({"content_type": "c" * 256}, {"content_type": "c" * 255}),
        ({"priority": 256}, {"priority": 255}),
        ({"priority": -1}, {"priority": 0}),
        ({"attributes": {"n" * 129: ""}}, {"attributes": {"n" * 128: ""}}),
        ({"attributes": {"": ""}}, {"attributes": {"n": ""}}),
        ({"attributes": {"CC": "other"}}, {"attributes": {"cc": "other"}}),
        ({"attributes": {"BCC": "other"}}, {"attributes": {"bcc": "other"}}),
        ({"attributes": {"a": "\ud800"}}, {"attributes": {"a": "\ud7ff"}}),
    ],
)
def test_what_amqp_cannot_carry(message: dict[str, Any], fine: dict[str, Any]) -> None:
    """What has no place in AMQP fails finally and by name, instead of ending the channel."""
    failed = refused(Message(body=b"", **message))

    assert failed.final
    assert not failed.is_counted
    assert (failed.evidence.stage, failed.evidence.code) == (Stage.SETTINGS, "UNSENDABLE")
    assert classify(failed.evidence) == "EP4323"
    assert isinstance(packed(Message(body=b"", **fine)).encoded(CHANNEL, FRAME_BYTES), bytes)


def test_attributes_larger_than_a_frame() -> None:
    """Attributes that do not fit into one frame fail finally: RabbitMQ would end the connection."""
    room = FRAME_BYTES - 200
    failed = refused(Message(body=b"", attributes={"a": "x" * FRAME_BYTES}))

    assert failed.evidence.fault is Fault.TOO_LARGE
    assert classify(failed.evidence) == "EP4322"
    assert through(Message(body=b"", attributes={"a": "x" * room})).attributes["a"] == "x" * room


def test_the_largest_body() -> None:
    """A body of exactly the bound goes, one byte more fails finally."""
    to = target(message_bytes_max=10)

    assert refused(Message(body=b"x" * 11), to).evidence.fault is Fault.TOO_LARGE
    assert packed(Message(body=b"x" * 10), to)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (target(), Message(body=b"", delay_s=0.1)),
        (target(delays_s=[5]), Message(body=b"", delay_s=5.1)),
        (target(delays_s=[5]), Message(body=b"", delay_s=5, routing_key="other")),
        (target(exchange="events", delays_s=[5]), Message(body=b"", delay_s=5)),
    ],
)
def test_delays_that_cannot_be(to: Target, message: Message) -> None:
    """A delay that no queue holds is refused finally: nothing comes earlier than was asked."""
    failed = refused(message, to)

    assert failed.final
    assert classify(failed.evidence) == "EP4324"


def test_a_delayed_message() -> None:
    """A delayed message goes to its delay queue, and fails when that is not there."""
    parcel = packed(Message(body=b"", delay_s=3), target(delays_s=[5], mandatory=False))

    assert (parcel.exchange, parcel.routing_key) == ("", "jobs.delay.5000ms")
    assert parcel.mandatory


# --- receiving ------------------------------------------------------------------------------------


def test_what_the_system_says() -> None:
    """Where it came from and its AMQP properties are system attributes, apart from the user's."""
    properties = commands.Basic.Properties(
        headers={"genre": "blues", "x-death": [{"count": 2}], "x-delivery-count": 3},
        correlation_id="c",
        reply_to="r",
        message_type="t",
        app_id="a",
        message_id="m",
        priority=4,
        timestamp=datetime(2026, 1, 2, tzinfo=UTC),
    )

    received = unpack(delivered(properties, redelivered=True), target(queue_type="quorum"), None)

    assert received.attributes == {"genre": "blues"}
    assert received.system_attributes == {
        "exchange": "events",
        "routing_key": "song.requested",
        "redelivered": "true",
        "correlation_id": "c",
        "reply_to": "r",
        "type": "t",
        "app_id": "a",
        "message_id": "m",
        "priority": "4",
        "x-death": '[{"count":2}]',
        "x-delivery-count": "3",
    }
    assert received.sent_ms == 1_767_312_000_000
    assert (received.id, received.receive_count) == ("", 4)


def test_foreign_headers() -> None:
    """Headers of any type become text, also those that no other system has."""
    headers: dict[str, Any] = {
        "table": {"a": [1, None]},
        "true": True,
        "when": datetime(2026, 1, 2, tzinfo=UTC),
        "nothing": None,
        "number": 7,
    }

    received = unpack(delivered(commands.Basic.Properties(headers=headers)), target(), None)

    assert received.attributes == {
        "table": '{"a":[1,null]}',
        "true": "true",
        "when": "2026-01-02T00:00:00+00:00",
        "nothing": "",
        "number": "7",
    }


def test_publishers_ids() -> None:
    """A publisher's id identifies a message only when that was opted into."""
    message = delivered(commands.Basic.Properties(message_id="m-1"))

    assert unpack(message, target(), None).id == ""
    assert unpack(message, target(message_ids=True), None).id == "m-1"
    assert unpack(delivered(commands.Basic.Properties()), target(message_ids=True), None).id == ""


def test_a_classic_queue_counts_nothing() -> None:
    """Where nobody counts the count is 0, and that it is not the first time is told apart."""
    received = unpack(delivered(commands.Basic.Properties(), redelivered=True), target(), None)

    assert received.receive_count == 0
    assert received.system_attributes["redelivered"] == "true"


def test_a_copy_for_a_delay_queue() -> None:
    """A copy keeps what the publisher wrote, leads nowhere else, and goes on counting."""
    to = target(delays_s=[5], queue_type="quorum")
    old = commands.Basic.Properties(
        content_type="text/plain",
        correlation_id="c",
        message_id="m",
        user_id="dj",
        expiration="9",
        headers={"genre": "blues", "CC": ["other"], "x-delivery-count": 1, COUNT_HEADER: 4},
    )

    copy = again(old, b"body", to, 5_000)

    assert (copy.exchange, copy.routing_key) == ("", "jobs.delay.5000ms")
    assert copy.mandatory
    assert copy.properties.headers == {"genre": "blues", COUNT_HEADER: 6}
    kept = copy.properties
    assert (kept.content_type, kept.correlation_id, kept.message_id) == ("text/plain", "c", "m")
    assert (kept.user_id, kept.expiration, kept.delivery_mode) == (None, None, 2)
    received = unpack(delivered(kept, b"body"), to, None)
    assert received.receive_count == 7
    assert received.attributes == {"genre": "blues"}


# --- frames that cannot be read -------------------------------------------------------------------


def whole(value: commands.Basic.Deliver | ContentHeader) -> tuple[bytes, bytes]:
    data = frame.marshal(value, CHANNEL)
    return data[:7], data[7:]


def test_good_frames_are_left_alone() -> None:
    """What can be read is given on byte for byte."""
    properties = commands.Basic.Properties(message_id="ä", timestamp=datetime.now(UTC))
    for value in (
        commands.Basic.Deliver("tag", 1, False, "events", "ö"),
        ContentHeader(properties=properties, body_size=3),
    ):
        head, rest = whole(value)
        assert mended(head, rest) == rest


@pytest.mark.parametrize(
    "bad",
    [
        commands.Basic.Properties(message_id="caf\u00e9"),
        commands.Basic.Properties(content_type="caf\u00e9", headers={"a": "b"}, priority=1),
    ],
)
def test_bad_properties_are_dropped(bad: commands.Basic.Properties) -> None:
    """Properties that are not UTF-8 are passed over; the size of the body is kept."""
    head, rest = whole(ContentHeader(properties=bad, body_size=3))
    broken = rest.replace("\u00e9".encode(), b"\xff\xff")

    count, _, read = frame.unmarshal(head + mended(head, broken))

    assert count == len(head + rest)
    assert isinstance(read, ContentHeader)
    assert read.body_size == 3
    assert read.properties.message_id is None


def test_a_time_that_no_calendar_has() -> None:
    """A time stamp in microseconds does not end the connection."""
    properties = commands.Basic.Properties(timestamp=datetime(2026, 1, 2, tzinfo=UTC))
    head, rest = whole(ContentHeader(properties=properties, body_size=3))
    microseconds = (1_767_312_000_000_000).to_bytes(8, "big")
    broken = rest.replace((1_767_312_000).to_bytes(8, "big"), microseconds)
    assert broken != rest

    _, _, read = frame.unmarshal(head + mended(head, broken))

    assert isinstance(read, ContentHeader)
    assert read.properties.timestamp is None


def test_a_bad_routing_key() -> None:
    """A routing key that is not UTF-8 is shown with question marks; the tags stay as they are."""
    head, rest = whole(commands.Basic.Deliver("tag", 200, True, "cafeXX", "song.XX"))
    broken = rest.replace(b"XX", b"\xff\xfe")

    _, _, read = frame.unmarshal(head + mended(head, broken))

    assert isinstance(read, commands.Basic.Deliver)
    assert (read.consumer_tag, read.delivery_tag, read.redelivered) == ("tag", 200, True)
    assert (read.exchange, read.routing_key) == ("cafe??", "song.??")
