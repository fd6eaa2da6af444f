"""The Event Grid schema: publish bodies become events.

Rules: https://learn.microsoft.com/azure/event-grid/event-schema and what the service does.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Event
from eventpost.formats import bodies, times
from eventpost.formats.bodies import BATCH_EVENTS_MAX, EVENT_BYTES_MAX
from eventpost.formats.domains import DomainInput

SCHEMA_NAME = "EventGridEvent"
METADATA_VERSION = "1"
OWN_DATA_VERSION = "1"
"""Of the events that the grid itself raises."""

_REQUIRED = ("subject", "id", "eventType", "eventTime")
"""In the order in which Event Grid reports what is missing."""

_NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class _EventGridEvent(msgspec.Struct, gc=False, forbid_unknown_fields=True, kw_only=True):
    """One event; the order of the fields is the order on the wire."""

    id: _NonEmpty
    topic: str | None = None
    subject: _NonEmpty
    eventType: _NonEmpty  # noqa: N815 - Event Grid's name
    eventTime: _NonEmpty  # noqa: N815
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    dataVersion: str | None = ""  # noqa: N815
    metadataVersion: str | None = METADATA_VERSION  # noqa: N815


_decode_one = msgspec.json.Decoder(_EventGridEvent).decode
_decode_many = msgspec.json.Decoder(list[_EventGridEvent]).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode
_parse_time = datetime.fromisoformat


def decode(body: bytes, topic_resource: str, domain: DomainInput | None = None) -> list[Event]:
    """The events of a publish request, all or none: an array or a single object, any content type.

    `wire` is complete: `topic` and `metadataVersion` are stamped, a missing `dataVersion` is "",
    `data` is byte for byte what was published and stays absent when it was. Nothing of `body` is
    kept. Of a `domain`, every event names its topic, and `topic_resource` is not asked.
    Raises InvalidEvent for the first thing that is wrong, with Event Grid's status and codes.
    """
    try:
        if not body.isascii():
            body.decode()
        if len(body) > EVENT_BYTES_MAX:
            bodies.check_sizes(SCHEMA_NAME, body)
        if body.startswith(b"["):
            published = _decode_many(body)
            if 0 < len(published) <= BATCH_EVENTS_MAX:
                if domain is not None:
                    return _complete_in(domain, published)
                return _complete(published, topic_resource)
        elif domain is not None:
            return _complete_in(domain, [_decode_one(body)])
        else:
            return _complete([_decode_one(body)], topic_resource)
    except bodies.JSON_ERRORS:
        pass
    trimmed = bodies.trimmed(body)
    if trimmed[:1] in (b"{", b"[") and len(trimmed) < len(body):
        return decode(trimmed, topic_resource, domain)
    raise _explained(trimmed, topic_resource, domain)


def make(
    topic_resource: str,
    *,
    event_id: str,
    event_type: str,
    subject: str,
    now_ms: int,
    data: object,
    data_version: str = OWN_DATA_VERSION,
) -> Event:
    """An event of the grid itself. `data` is anything that msgspec encodes."""
    return envelope(
        topic_resource,
        event_id=event_id,
        event_type=event_type,
        subject=subject,
        event_time=times.seven_digits(now_ms),
        data=msgspec.Raw(_encode(data)),
        data_version=data_version,
    )


def envelope(
    topic_resource: str,
    *,
    event_id: str,
    event_type: str,
    subject: str,
    event_time: str,
    data: msgspec.Raw,
    data_version: str,
) -> Event:
    """An event around `data`, which is JSON; nothing is checked."""
    event = _EventGridEvent(
        id=event_id,
        topic=topic_resource,
        subject=subject,
        eventType=event_type,
        eventTime=event_time,
        data=data,
        dataVersion=data_version,
    )
    return Event(event_id, event_type, subject, _encode(event))


def _complete(published: list[_EventGridEvent], topic_resource: str) -> list[Event]:
    """Stamp what the grid adds. One loop without calls of ours: this is the publish path."""
    events = []
    for event in published:
        try:
            _parse_time(event.eventTime)
        except ValueError:
            _check_time(event.eventTime)
        if event.topic and event.topic != topic_resource:
            _check_topic(event.topic, topic_resource)
        event.topic = topic_resource
        if event.metadataVersion != METADATA_VERSION:
            _check_metadata_version(event.metadataVersion)
            event.metadataVersion = METADATA_VERSION
        if event.dataVersion is None:
            event.dataVersion = ""
        events.append(Event(event.id, event.eventType, event.subject, _encode(event)))
    return events


def _complete_in(domain: DomainInput, published: list[_EventGridEvent]) -> list[Event]:
    """The same for events of a domain, each of which is of a topic of its own."""
    events = []
    for event in published:
        topic_resource = domain.resource(event.topic or "", SCHEMA_NAME)
        event.topic = None
        events += _complete([event], topic_resource)
    return events


def _check_topic(topic: str, topic_resource: str) -> None:
    if topic.lower() != topic_resource.lower():
        raise InvalidEvent(
            401,
            "Unauthorized",
            "Unauthorized",
            f"The topic '{bodies.excerpt(topic)}' of the event is not the one it is published to.",
        )


def _check_metadata_version(version: str | None) -> None:
    if version is not None and version != METADATA_VERSION:
        raise bodies.wrong(SCHEMA_NAME, "metadataVersion", f"'{METADATA_VERSION}' or absent")


def _check_time(text: str) -> None:
    if not times.is_time(text):
        what = f"a time in ISO 8601, not '{bodies.excerpt(text)}'"
        raise bodies.wrong(SCHEMA_NAME, "eventTime", what)


def _explained(body: bytes, topic_resource: str, domain: DomainInput | None) -> InvalidEvent:
    """What is wrong with a body that the fast path refused: the first thing, in order."""
    try:
        bodies.check_json(body)
        for element in bodies.elements(SCHEMA_NAME, body):
            _check_event(element, topic_resource, domain)
    except InvalidEvent as error:
        return error
    return bodies.not_conforming(SCHEMA_NAME)


def _check_event(element: bytes, topic_resource: str, domain: DomainInput | None) -> None:
    members = {name: bytes(value) for name, value in _decode_members(element).items()}
    for name in _REQUIRED:
        if members.get(name, b"null") in (b"null", b'""'):
            raise bodies.missing(SCHEMA_NAME, name)
    for name in members:
        if name not in _EventGridEvent.__struct_fields__:
            raise bodies.invalid(
                f"This resource is configured for '{SCHEMA_NAME}' schema. "
                f"Received unexpected property '{bodies.excerpt(name)}' in JSON "
                "which does not conform to the expected schema."
            )
        if name != "data":
            _text(members, name)
    _check_time(_text(members, "eventTime") or "")
    _check_metadata_version(_text(members, "metadataVersion"))
    topic = _text(members, "topic")
    if domain is not None:
        domain.resource(topic or "", SCHEMA_NAME)
    else:
        _check_topic(topic or topic_resource, topic_resource)


def _text(members: dict[str, bytes], name: str) -> str | None:
    value = members.get(name, b"null")
    if value == b"null":
        return None
    if value[:1] != b'"':
        raise bodies.wrong(SCHEMA_NAME, name, "a string")
    return _decode_text(value)
