"""The message format `raw`: the data alone. What an event has beside it is mapped, or made up.

Layer: formats.
"""

import binascii
from datetime import datetime

import msgspec

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Delivery, Event, Schema
from eventpost.formats import bodies, cloudevents, delivery, eventgrid
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

DEFAULT_TYPE = "Eventpost.Message"
BINARY_VERSION = "base64"
"""`dataVersion` of an Event Grid event whose data is base64, because it was no text."""
SECONDS_MAX = 10**11
"""A larger number is a time in milliseconds: this one is in the year 5138."""
TIME_DIGITS_MAX = 18
BINARY_TYPE = "application/octet-stream"
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"

_STRUCTURED = {b"content-type": cloudevents.STRUCTURED_TYPE.encode()}
_encode = msgspec.json.Encoder().encode
_decode_text = msgspec.json.Decoder(str).decode


class _GridEvent(msgspec.Struct, kw_only=True):
    id: str
    subject: str
    eventType: str  # noqa: N815 - Event Grid's name
    eventTime: str  # noqa: N815
    dataVersion: str  # noqa: N815
    data: msgspec.Raw


class _CloudEvent(msgspec.Struct, kw_only=True, omit_defaults=True):
    specversion: str | None = None
    id: str = ""
    source: str = ""
    type: str = ""
    subject: str = ""
    time: str = ""
    datacontenttype: str = ""
    dataschema: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | msgspec.UnsetType = msgspec.UNSET


class _Envelope(msgspec.Struct):
    """What the data of an event is, of either schema."""

    dataVersion: str = ""  # noqa: N815 - Event Grid's name
    datacontenttype: str | None = None
    data_base64: str | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def decode(message: Incoming, target: Target) -> list[Event]:
    """One event with the message's body as its data: JSON as it is, other text as a string, and
    anything else as base64. Raises InvalidEvent for what is too large, or mapped to no time."""
    mapped = _Mapped(message, target)
    if target.schema is Schema.CLOUD_EVENTS:
        events = cloudevents.decode(_encode(_cloud_event(message, target, mapped)), _STRUCTURED)
    else:
        made = _grid_event(message, mapped)
        events = eventgrid.decode(_encode(made), target.topic_resource)
    return traced(message, events)


def encode(given: Delivery, origin: Origin) -> Outgoing:
    """The event's data as what it was: JSON byte for byte, text, or bytes; `null` without data."""
    members, data = split(origin.input_schema, given.event.wire)
    envelope = _decode_envelope(members)
    attributes = trace_attributes(given.event.trace)
    if envelope.data_base64 or envelope.dataVersion == BINARY_VERSION:
        found = _binary(envelope.data_base64 or _decode_text(data))
        if found is not None:
            content_type = envelope.datacontenttype or BINARY_TYPE
            return Outgoing(body=found, content_type=content_type, attributes=attributes)
    content_type = envelope.datacontenttype or JSON_TYPE
    media_type = content_type.partition(";")[0].strip().lower()
    if data[:1] == b'"' and not cloudevents.is_json(media_type):
        data = _decode_text(data).encode("utf-8", "surrogatepass")
    return Outgoing(body=data or b"null", content_type=content_type, attributes=attributes)


class _Mapped:
    """What the source's mapping makes of a message."""

    def __init__(self, message: Incoming, target: Target) -> None:
        self._message = message
        self._body = bodies.trimmed(message.body)
        self._mapping = target.mapping
        self.id = self._at("id") or message.message_id or target.new_id()
        self.type = self._at("eventtype") or DEFAULT_TYPE
        self.subject = self._at("subject") or target.queue
        self.data_version = self._at("dataversion")
        self.time = self._time(message.sent_ms or target.now_ms())

    def _at(self, name: str) -> str:
        path = self._mapping.fields.get(name, "")
        found = self._value(path) if path else None
        return found or self._mapping.defaults.get(name, "")

    def _value(self, path: str) -> str | None:
        root, *names = path.split(".")
        if root == "data":
            try:
                return delivery.text_at(self._body, names)
            except bodies.JSON_ERRORS:
                return None  # it is not JSON: nothing lies at that path
        name = ".".join(names)
        if root == "attributes":
            return self._message.text(name)
        return self._message.system_attributes.get(name)

    def _time(self, default_ms: int) -> str:
        """ISO 8601 as it is; a number is UTC, in seconds or milliseconds."""
        found = self._at("eventtime")
        if not found:
            return time_text(default_ms)
        if found.isascii() and found.isdigit() and len(found) <= TIME_DIGITS_MAX:
            number = int(found)
            return time_text(number if number >= SECONDS_MAX else number * 1000)
        try:
            datetime.fromisoformat(found)
        except ValueError:
            shown = bodies.excerpt(found)
            raise bodies.invalid(f"The mapped time '{shown}' is no time in ISO 8601.") from None
        return found


def _grid_event(message: Incoming, mapped: _Mapped) -> _GridEvent:
    data, text = _json(message.body), _text(message.body)
    version = mapped.data_version
    if data is None and text is None:
        version = BINARY_VERSION
        text = binascii.b2a_base64(message.body, newline=False).decode()
    return _GridEvent(
        id=mapped.id,
        subject=mapped.subject,
        eventType=mapped.type,
        eventTime=mapped.time,
        dataVersion=version,
        data=msgspec.Raw(_encode(text) if data is None else data),
    )


def _cloud_event(message: Incoming, target: Target, mapped: _Mapped) -> _CloudEvent:
    made = _CloudEvent(
        specversion=cloudevents.SPEC_VERSION,
        id=mapped.id,
        source=target.topic_resource,
        type=mapped.type,
        subject=mapped.subject,
        time=mapped.time,
        dataschema=f"#{mapped.data_version}" if mapped.data_version else None,
    )
    data, text = _json(message.body), _text(message.body)
    media_type = message.content_type.partition(";")[0].strip().lower()
    if data is not None and (not media_type or cloudevents.is_json(media_type)):
        made.datacontenttype = message.content_type or JSON_TYPE
        made.data = msgspec.Raw(data)
    elif text is not None and not cloudevents.is_json(media_type):
        made.datacontenttype = message.content_type or TEXT_TYPE
        made.data = msgspec.Raw(_encode(text))
    else:
        made.datacontenttype = message.content_type or BINARY_TYPE
        made.data_base64 = binascii.b2a_base64(message.body, newline=False).decode()
    return made


def _json(body: bytes) -> bytes | None:
    """The body without blanks around it if it is JSON, None if it is something else."""
    value = bodies.trimmed(body)
    try:
        bodies.check_json(value)
    except InvalidEvent:
        return None
    return value


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _binary(encoded: str) -> bytes | None:
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        return None
