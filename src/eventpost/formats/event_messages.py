"""The message format `event`: the event itself, Event Grid's or a CloudEvent, alone or several.

Layer: formats. CloudEvents come structured, as a batch, or in binary mode with their attributes
among the message's, by the names of the bindings for Kafka (`ce_`), AMQP (`cloudEvents:`) and HTTP
(`ce-`): https://github.com/cloudevents/spec/tree/main/cloudevents/bindings
"""

from binascii import b2a_base64

import msgspec

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Delivery, Event, Schema
from eventpost.formats import bodies, cloudevents, delivery, eventgrid
from eventpost.formats.messages import Incoming, Origin, Outgoing, Target, trace_attributes, traced

PREFIXES = ("ce_", "ce-", "cloudevents:", "cloudevents_")
"""What stands before a CloudEvent's attributes among those of a message, in any case."""
JSON_TYPE = "application/json"
CLOUD_EVENT_TYPE = f"{cloudevents.STRUCTURED_TYPE}; charset=utf-8"

_STRUCTURED = {b"content-type": cloudevents.STRUCTURED_TYPE.encode()}
_BATCH = {b"content-type": cloudevents.BATCH_TYPE.encode()}
_EVENT_GRID = Schema.EVENT_GRID
_CLOUD_EVENTS = Schema.CLOUD_EVENTS


class _Kind(msgspec.Struct, gc=False):
    """What tells the two schemas apart: only a CloudEvent has this."""

    specversion: msgspec.Raw = msgspec.Raw(b"null")


_decode_kinds = msgspec.json.Decoder(_Kind | list[_Kind]).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


def decode(message: Incoming, target: Target) -> list[Event]:
    """The events of a message. Raises InvalidEvent for what is none of the topic's schema.

    On a topic of a custom schema they are what its mapping makes of the body. On one of
    CloudEvents, Event Grid's events become such; the other way round too much would be lost. An
    Event Grid event's own topic is replaced by the one that it is published to.
    """
    if target.custom is not None:
        return traced(message, target.custom.decode(message.body, target.topic_resource))
    binary = _attributes(message)
    if binary:
        found = [_encode_binary(binary, message)]
        is_cloud_event, is_array = True, False
    else:
        body = bodies.trimmed(message.body)
        is_cloud_event, is_array = _kind(body)
        found = [body]
    if target.schema is _EVENT_GRID:
        if is_cloud_event:
            raise bodies.invalid(
                "The message is a CloudEvent, and its topic takes Event Grid's schema. "
                "Events of both schemas can be taken by a topic of cloudeventschemav1_0."
            )
        return traced(message, _grid_events(found[0], target.topic_resource))
    if is_cloud_event:
        events = cloudevents.decode(found[0], _BATCH if is_array else _STRUCTURED)
    else:
        events = _converted(found[0], target.topic_resource)
    return traced(message, events)


def encode(given: Delivery, origin: Origin) -> Outgoing:
    """The message of one event: one JSON object in the delivery schema."""
    schema = origin.output_schema
    body = delivery.alone(origin.input_schema, schema, given.event.wire, origin.topic_resource)
    content_type = CLOUD_EVENT_TYPE if schema is _CLOUD_EVENTS else JSON_TYPE
    trace = trace_attributes(given.event.trace)
    return Outgoing(body=body, content_type=content_type, attributes=trace)


def structured(message: Incoming) -> bytes | None:
    """A CloudEvent in binary mode as one in the JSON format; None for what is in no binary mode.
    Raises InvalidEvent for data that is not what its content type says."""
    binary = _attributes(message)
    return _encode_binary(binary, message) if binary else None


# --- which schema ---------------------------------------------------------------------------------


def _kind(body: bytes) -> tuple[bool, bool]:
    """Whether it is a CloudEvent, and whether it is an array. Raises InvalidEvent for no JSON."""
    try:
        found = _decode_kinds(body)
    except bodies.JSON_ERRORS:
        bodies.check_json(body)
        raise bodies.not_conforming("EventGridEvent or CloudEventV10") from None
    kinds = found if isinstance(found, list) else [found]
    is_cloud_event = any(bytes(each.specversion) != b"null" for each in kinds)
    return is_cloud_event, isinstance(found, list)


def _attributes(message: Incoming) -> dict[str, str]:
    """A CloudEvent's attributes in binary mode, by their names; none in any other mode."""
    found: dict[str, str] = {}
    for name, value in message.attributes.items():
        folded = name.lower()
        for prefix in PREFIXES:
            if folded.startswith(prefix):
                text = value if isinstance(value, str) else value.decode("utf-8", "replace")
                found[folded.removeprefix(prefix)] = text
    return found if "specversion" in found else {}


# --- Event Grid's ---------------------------------------------------------------------------------


def _grid_events(body: bytes, topic_resource: str) -> list[Event]:
    try:
        return eventgrid.decode(body, topic_resource)
    except InvalidEvent as error:
        if error.detail_code != "Unauthorized":
            raise
    # It was published to another topic before; here it is an event of this one.
    elements = [_without_topic(each)[0] for each in bodies.elements("EventGridEvent", body)]
    return eventgrid.decode(b"[" + b",".join(elements) + b"]", topic_resource)


def _converted(body: bytes, topic_resource: str) -> list[Event]:
    """Event Grid's events as CloudEvents; the topic that they name is their source."""
    events = []
    for each in bodies.elements("EventGridEvent", body):
        element, topic = _without_topic(each)
        (event,) = eventgrid.decode(element, topic or topic_resource)
        wire = delivery.cloud_event(event.wire, topic or topic_resource)
        events += cloudevents.decode(wire, _STRUCTURED)
    return events


def _without_topic(element: bytes) -> tuple[bytes, str]:
    members = _decode_members(element)
    topic = bytes(members.pop("topic", msgspec.Raw(b"null")))
    return _encode(members), _decode_text(topic) if topic[:1] == b'"' else ""


# --- binary mode ----------------------------------------------------------------------------------


def _encode_binary(attributes: dict[str, str], message: Incoming) -> bytes:
    """A CloudEvent in binary mode as one in the JSON format."""
    content_type = message.content_type or message.text("content-type")
    members: dict[str, object] = dict(attributes)
    if content_type:
        members["datacontenttype"] = content_type
    media_type = content_type.partition(";")[0].strip().lower()
    encoded = _encode(members)[:-1]
    if not message.body:
        return encoded + b"}"
    if not media_type or cloudevents.is_json(media_type):
        data = bodies.trimmed(message.body)
        bodies.check_json(data)
        return b"".join((encoded, b',"data":', data, b"}"))
    if media_type.startswith("text/"):
        try:
            return b"".join((encoded, b',"data":', _encode(message.body.decode()), b"}"))
        except UnicodeDecodeError:
            pass
    data = b2a_base64(message.body, newline=False)
    return b"".join((encoded, b',"data_base64":"', data, b'"}'))
