"""Stored bytes back to events, for lanes that catch up from the log: hot.

Every kept event has the same layout: what routing asks about first, `data` behind it, and after
the data nothing but `dataVersion` and `metadataVersion` (Event Grid) or nothing (CloudEvents). So
`data`, the bulk, is never read again here: it may be large, or nested deeper than a busy stack
allows.
"""

import msgspec

from eventpost.core.events import Event, Schema

Trace = tuple[str, str] | None

_CLOUD_EVENTS = Schema.CLOUD_EVENTS  # bound once: looking it up in the enumeration is slow

# None of these can occur inside a JSON string, where its quotes would be escaped.
_EVENT_TIME = b',"eventTime":'
_DATA = b',"data":'
_DATA_VERSION = b',"dataVersion":'


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
    if schema is _CLOUD_EVENTS:
        end = wire.find(_DATA)
        cloud_event = _decode_cloud_event(wire[:end] + b"}" if end > 0 else wire)
        return Event(cloud_event.id, cloud_event.type, cloud_event.subject or "", wire, trace)
    end = wire.find(_EVENT_TIME)
    event = _decode_event_grid(wire[:end] + b"}" if end > 0 else wire)
    return Event(event.id, event.eventType, event.subject, wire, trace)


def split(schema: Schema, wire: bytes) -> tuple[bytes, bytes]:
    """A kept event without its `data`, as JSON, and the bytes of `data`, b"" when it has none."""
    start = wire.find(_DATA)
    if start < 0:
        return wire, b""
    end = len(wire) - 1 if schema is _CLOUD_EVENTS else wire.rfind(_DATA_VERSION)
    return wire[:start] + wire[end:], wire[start + len(_DATA) : end]
