"""Delivery bodies: from stored events to what a handler receives, and the grid's own messages."""

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote

import msgspec

from eventpost.core.events import Schema
from eventpost.formats import cloudevents, eventgrid
from eventpost.formats.wire import split

EVENT_GRID_TYPE = b"application/json; charset=utf-8"
CLOUD_EVENT_TYPE = f"{cloudevents.STRUCTURED_TYPE}; charset=utf-8".encode()
CLOUD_EVENT_BATCH_TYPE = f"{cloudevents.BATCH_TYPE}; charset=utf-8".encode()

VALIDATION_EVENT = "Microsoft.EventGrid.SubscriptionValidationEvent"
DELETION_EVENT = "Microsoft.EventGrid.SubscriptionDeletedEvent"

# Bound once: a look-up in an enumeration costs as much as the rest of a single delivery.
_EVENT_GRID = Schema.EVENT_GRID
_CLOUD_EVENTS = Schema.CLOUD_EVENTS
_CUSTOM = Schema.CUSTOM

# How every kept Event Grid event ends.
_DATA_VERSION = b',"dataVersion":'
_AFTER_DATA_VERSION = b',"metadataVersion":"1"}'


class _Envelope(msgspec.Struct, gc=False):
    """An Event Grid event without its data."""

    id: str
    subject: str
    eventType: str  # noqa: N815 - Event Grid's name
    eventTime: str  # noqa: N815
    dataVersion: str = ""  # noqa: N815


class _Topic(msgspec.Struct, gc=False):
    """What an event of a domain says of its topic."""

    topic: str


class _CloudEvent(msgspec.Struct, gc=False):
    """A CloudEvent without its data. The order of the fields is the order on the wire."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    dataschema: str | msgspec.UnsetType


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_topic = msgspec.json.Decoder(_Topic).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode_json = msgspec.json.Encoder().encode


def encode(
    input_schema: Schema,
    output_schema: Schema,
    wires: Sequence[bytes],
    is_batched: bool,
    topic_resource: str,
) -> tuple[bytes, bytes]:
    """Content type and body of one delivery of `wires` (at least one), hot.

    The schemas have passed `core.bounds.check_delivery_schema`. Event Grid's schema, and a custom
    one, is an array always; a CloudEvent stands alone unless the subscription is batched.
    """
    if output_schema is not _CLOUD_EVENTS:
        if output_schema is _CUSTOM:
            wires = [split(_CUSTOM, wire)[1] for wire in wires]
        if len(wires) == 1:
            return EVENT_GRID_TYPE, b"".join((b"[", wires[0], b"]"))
        return EVENT_GRID_TYPE, b"[" + b",".join(wires) + b"]"
    if input_schema is not _CLOUD_EVENTS:
        wires = [cloud_event(wire, topic_resource) for wire in wires]
    if is_batched or len(wires) > 1:
        return CLOUD_EVENT_BATCH_TYPE, b"[" + b",".join(wires) + b"]"
    return CLOUD_EVENT_TYPE, wires[0]


def alone(input_schema: Schema, output_schema: Schema, wire: bytes, topic_resource: str) -> bytes:
    """One event as one JSON object, for what carries an event a message."""
    if output_schema is _CUSTOM:
        return split(_CUSTOM, wire)[1]
    if output_schema is _CLOUD_EVENTS and input_schema is not _CLOUD_EVENTS:
        return cloud_event(wire, topic_resource)
    return wire


def cloud_event(wire: bytes, topic_resource: str) -> bytes:
    """An Event Grid event as a CloudEvent: the topic becomes `source`, `data` keeps its bytes.

    `topic_resource` is "" where every event says it itself.
    A `dataVersion` becomes `dataschema` as a fragment, `#1.0`, as Event Grid writes it.
    """
    envelope, data = split(_EVENT_GRID, wire)
    event = _decode_envelope(envelope)
    converted = _encode_json(
        _CloudEvent(
            cloudevents.SPEC_VERSION,
            event.id,
            topic_resource or _decode_topic(envelope).topic,
            event.eventType,
            event.subject,
            event.eventTime,
            _data_schema(event.dataVersion) if event.dataVersion else msgspec.UNSET,
        )
    )
    return b"".join((converted[:-1], b',"data":', data, b"}")) if data else converted


@lru_cache(maxsize=256)
def _data_schema(data_version: str) -> str:
    return f"#{quote(data_version)}"


def attribute(wire: bytes, schema: Schema, path: str) -> str | None:
    """The value at `path` (such as `data.key1`) as text, for a dynamic delivery property.

    Strings, numbers (as they were written) and booleans only; None for anything else and where
    nothing is. A name matches exactly or, failing that, in any case, as with filters.
    """
    value, names = _root(wire, schema, path)
    return text_at(value, names)


def value_at(wire: bytes, schema: Schema, path: str) -> bytes:
    """The same as JSON, of whatever kind, byte for byte; b"" where nothing is."""
    value, names = _root(wire, schema, path)
    return _within(value, names)


def text_at(value: bytes, names: Sequence[str]) -> str | None:
    """The same of any JSON value, `names` leading into it."""
    value = _within(value, names)
    if value[:1] == b'"':
        return _decode_text(value)
    return None if value[:1] in (b"{", b"[", b"n", b"") else value.decode()


def data_version(wire: bytes, schema: Schema) -> str:
    """The event's `dataVersion` for the delivery header, hot; "" for a CloudEvent."""
    if schema is _CLOUD_EVENTS:
        return ""
    start = wire.rfind(_DATA_VERSION)
    text = wire[start + len(_DATA_VERSION) : -len(_AFTER_DATA_VERSION)]
    return _decode_text(text) if b"\\" in text else text[1:-1].decode()


def version_end(wire: bytes, schema: Schema) -> bytes:
    """The bytes at the end of `wire` that say its `dataVersion`: an event that ends alike has the
    same. b"" for a CloudEvent, which has none."""
    return b"" if schema is _CLOUD_EVENTS else wire[wire.rfind(_DATA_VERSION) :]


def validation_event(topic_resource: str, event_id: str, now_ms: int, code: str, url: str) -> bytes:
    """The body of the handshake: `code` is to be echoed, a GET of `url` consents later."""
    return _own_message(
        topic_resource,
        event_id,
        now_ms,
        VALIDATION_EVENT,
        {"validationCode": code, "validationUrl": url},
    )


def deletion_event(topic_resource: str, event_id: str, now_ms: int, subscription: str) -> bytes:
    """The body of the notice that the event subscription is gone."""
    resource = f"{topic_resource}/providers/Microsoft.EventGrid/eventSubscriptions/{subscription}"
    data = {"eventSubscriptionId": resource}
    return _own_message(topic_resource, event_id, now_ms, DELETION_EVENT, data)


def _own_message(
    topic_resource: str, event_id: str, now_ms: int, event_type: str, data: dict[str, str]
) -> bytes:
    event = eventgrid.make(
        topic_resource,
        event_id=event_id,
        event_type=event_type,
        subject="",
        now_ms=now_ms,
        data=data,
    )
    return b"[" + event.wire + b"]"


def _root(wire: bytes, schema: Schema, path: str) -> tuple[bytes, list[str]]:
    envelope, data = split(schema, wire)
    first, *names = path.split(".")
    return (data if first.lower() == "data" else _member(envelope, first)), names


def _within(value: bytes, names: Sequence[str]) -> bytes:
    """What lies at `names` in a JSON value, b"" when nothing does."""
    try:
        for name in names:
            value = _member(value, name)
    except RecursionError:  # nested deeper than the stack allows here: no value to be had
        return b""
    return value


def _member(value: bytes, name: str) -> bytes:
    """The member of a JSON object, b"" when it is no object or has none of that name."""
    if value[:1] != b"{":
        return b""
    members = _decode_members(value)
    if name not in members:
        folded = name.lower()
        name = next((known for known in members if known.lower() == folded), name)
    return bytes(members.get(name, b""))
