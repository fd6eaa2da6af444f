"""Stored bytes back to events, for lanes that catch up from the log: hot."""

from collections.abc import Sequence

import msgspec

from eventpost.core.events import Event, Schema

Trace = tuple[str, str] | None

_EVENT_TIME = b',"eventTime":'
"""Cannot occur inside a JSON string, where its quotes would be escaped."""


class _EventGridHead(msgspec.Struct, gc=False):
    id: str
    subject: str
    eventType: str  # noqa: N815 - Event Grid's name


class _CloudEventHead(msgspec.Struct, gc=False):
    id: str
    type: str
    subject: str | None = None


_decode_event_grid = msgspec.json.Decoder(_EventGridHead).decode
_decode_cloud_event = msgspec.json.Decoder(_CloudEventHead).decode


def parse(schema: Schema, wire: bytes, trace: Trace = None) -> Event:
    """The event that was stored as `wire` on a topic of `schema`.

    Raises msgspec.MsgspecError for bytes that no decoder of this package wrote.
    """
    if schema is Schema.CLOUD_EVENTS:
        cloud_event = _decode_cloud_event(wire)
        return Event(cloud_event.id, cloud_event.type, cloud_event.subject or "", wire, trace)
    # What routing asks about stands before `eventTime`; `data`, the bulk, need not be read.
    end = wire.find(_EVENT_TIME)
    event = _decode_event_grid(wire[:end] + b"}" if end > 0 else wire)
    return Event(event.id, event.eventType, event.subject, wire, trace)


def parse_many(
    schema: Schema, wires: Sequence[bytes], traces: Sequence[Trace] | None = None
) -> list[Event]:
    """The events of a segment, in order; `traces` None when no event has one."""
    if traces is None:
        return [parse(schema, wire) for wire in wires]
    return [parse(schema, wire, trace) for wire, trace in zip(wires, traces, strict=True)]
