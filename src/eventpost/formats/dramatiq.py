"""Messages of Dramatiq, as its JSON encoder writes them: https://dramatiq.io (message.py).

Layer: formats. A message that became an event becomes that message again, byte for byte; an event
that was none becomes a message for the actor of its type, with its data as the one argument.
"""

import binascii

import msgspec

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Delivery, Event, Schema
from eventpost.formats import bodies, cloudevents, eventgrid
from eventpost.formats.messages import (
    Incoming,
    Origin,
    Outgoing,
    Target,
    time_text,
    trace_attributes,
    traced,
)
from eventpost.formats.wire import split

DATA_VERSION = "dramatiq-1"
"""Of an event whose data is a whole message."""
DATA_SCHEMA = f"#{DATA_VERSION}"
"""The same of a CloudEvent, as an Event Grid event is converted to one."""
JSON_TYPE = "application/json"

_STRUCTURED = {b"content-type": cloudevents.STRUCTURED_TYPE.encode()}
_encode = msgspec.json.Encoder().encode


class DramatiqMessage(msgspec.Struct, kw_only=True):
    """The seven fields of a message. Arguments stay as they were written."""

    queue_name: str
    actor_name: str
    args: list[msgspec.Raw]
    kwargs: dict[str, msgspec.Raw]
    options: dict[str, msgspec.Raw]
    message_id: str
    message_timestamp: int


class _GridEvent(msgspec.Struct, kw_only=True):
    id: str
    subject: str
    eventType: str  # noqa: N815 - Event Grid's name
    eventTime: str  # noqa: N815
    dataVersion: str  # noqa: N815
    data: msgspec.Raw


class _CloudEvent(msgspec.Struct, kw_only=True):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    dataschema: str
    data: msgspec.Raw


class _Envelope(msgspec.Struct):
    """What says whether an event was a message, of either schema."""

    dataVersion: str = ""  # noqa: N815 - Event Grid's name
    dataschema: str | None = None


_decode_message = msgspec.json.Decoder(DramatiqMessage).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_number = msgspec.json.Decoder(float).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_priority = msgspec.json.Decoder(int | None).decode


def decode(message: Incoming, target: Target) -> list[Event]:
    """The event of a message: its actor is the type, its queue the subject, its id the id, and the
    whole message the data. Raises InvalidEvent for what is no message.

    Some brokers send it as base64, which is undone.
    """
    body, read = parse(message.body)
    time = time_text(read.message_timestamp)
    if target.schema is Schema.CLOUD_EVENTS:
        made = _CloudEvent(
            specversion=cloudevents.SPEC_VERSION,
            id=read.message_id,
            source=target.topic_resource,
            type=read.actor_name,
            subject=read.queue_name,
            time=time,
            datacontenttype=JSON_TYPE,
            dataschema=DATA_SCHEMA,
            data=msgspec.Raw(body),
        )
        return traced(message, cloudevents.decode(_encode(made), _STRUCTURED))
    event = _GridEvent(
        id=read.message_id,
        subject=read.queue_name,
        eventType=read.actor_name,
        eventTime=time,
        dataVersion=DATA_VERSION,
        data=msgspec.Raw(body),
    )
    return traced(message, eventgrid.decode(_encode(event), target.topic_resource))


def encode(given: Delivery, origin: Origin) -> Outgoing:
    """The message of an event. One that waits for its time (`options.eta`) asks for that delay."""
    members, data = split(origin.input_schema, given.event.wire)
    envelope = _decode_envelope(members)
    trace = trace_attributes(given.event.trace)
    if DATA_VERSION in (envelope.dataVersion, (envelope.dataschema or "").removeprefix("#")):
        try:
            body, read = parse(data)
        except InvalidEvent:
            pass  # somebody else's data of that version
        else:
            delay_s = max(0.0, eta_ms(read) - origin.now_ms()) / 1000
            return Outgoing(body=body, content_type=JSON_TYPE, attributes=trace, delay_s=delay_s)
    made = DramatiqMessage(
        queue_name=origin.queue,
        actor_name=given.event.type,
        args=[msgspec.Raw(data)] if data else [],
        kwargs={},
        options={},
        message_id=given.event.id,
        message_timestamp=given.published_ms,
    )
    return Outgoing(body=_encode(made), content_type=JSON_TYPE, attributes=trace)


def parse(body: bytes) -> tuple[bytes, DramatiqMessage]:
    """The JSON of a message, and the message. Raises InvalidEvent for what is none."""
    text = bodies.trimmed(body)
    if text[:1] != b"{":
        try:
            text = bodies.trimmed(binascii.a2b_base64(text, strict_mode=True))
        except ValueError:
            raise bodies.invalid("The message is neither a JSON object nor base64.") from None
    bodies.check_json(text)
    try:
        return text, _decode_message(text)
    except msgspec.MsgspecError as error:
        raise bodies.invalid(f"The message is no message of Dramatiq: {error}.") from None


def eta_ms(message: DramatiqMessage) -> float:
    """When it is to be worked on, UTC; 0 when at once."""
    try:
        return _decode_number(message.options.get("eta", b"0"))
    except msgspec.MsgspecError:
        return 0.0


DELAYED_SUFFIX = ".DQ"
"""Of the queue beside a queue in which Dramatiq's broker for RabbitMQ keeps what waits."""
DEAD_SUFFIX = ".XQ"
"""Of the one in which it keeps dead letters."""
_SUFFIXES = (DELAYED_SUFFIX, DEAD_SUFFIX)


def canonical(queue_name: str) -> str:
    """The queue's own name, also of its queues for delayed (`.DQ`) and dead messages (`.XQ`)."""
    return queue_name[: -len(DELAYED_SUFFIX)] if queue_name.endswith(_SUFFIXES) else queue_name


def delayed(queue_name: str) -> str:
    """The name of the queue's queue for delayed messages."""
    return canonical(queue_name) + DELAYED_SUFFIX


def dead(queue_name: str) -> str:
    """The name of the queue's queue for dead letters."""
    return canonical(queue_name) + DEAD_SUFFIX


def renamed(body: bytes, queue_name: str) -> bytes:
    """The JSON of a message for another queue; every other member is as it was written."""
    return _encode(_decode_members(body) | {"queue_name": queue_name})


def broker_priority(message: DramatiqMessage) -> int | None:
    """What the message asks of RabbitMQ (`options.broker_priority`); None for nothing."""
    try:
        found: int | None = _decode_priority(message.options.get("broker_priority", b"null"))
    except msgspec.MsgspecError:
        return None
    return found


def as_base64(body: bytes) -> bytes:
    """As some brokers send it."""
    return binascii.b2a_base64(body, newline=False)
