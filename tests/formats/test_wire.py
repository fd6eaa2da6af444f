"""Stored bytes back to events."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.events import Event, Schema
from eventpost.formats import cloudevents, delivery, eventgrid, wire

RESOURCE = "/topics/orders"
STRUCTURED = {b"content-type": b"application/cloudevents+json"}
TRACE = ("00-" + "1" * 32 + "-" + "2" * 16 + "-01", "")

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def published(schema: Schema, **properties: object) -> Event:
    if schema is Schema.EVENT_GRID:
        event = {"id": "1", "subject": "s", "eventType": "t", "eventTime": "2026-11-21"}
        return eventgrid.decode(json.dumps(event | properties).encode(), RESOURCE)[0]
    event = {"id": "1", "source": "/s", "type": "t"}
    return cloudevents.decode(json.dumps(event | properties).encode(), STRUCTURED)[0]


def same(left: Event, right: Event) -> bool:
    return (left.id, left.type, left.subject, left.wire) == (
        *(right.id, right.type, right.subject),
        right.wire,
    )


@given(texts, texts, texts, st.none() | texts | st.dictionaries(texts, texts))
def test_event_grid_comes_back(event_id: str, kind: str, subject: str, data: object) -> None:
    """An Event Grid event that was kept comes back the same, whatever its texts and data are."""
    event = published(Schema.EVENT_GRID, id=event_id, eventType=kind, subject=subject, data=data)

    assert same(wire.parse(Schema.EVENT_GRID, event.wire), event)


@given(texts, texts, st.none() | texts)
def test_cloud_event_comes_back(event_id: str, kind: str, subject: str | None) -> None:
    """A CloudEvent that was kept comes back the same, with or without a subject."""
    event = published(Schema.CLOUD_EVENTS, id=event_id, type=kind, subject=subject)

    assert same(wire.parse(Schema.CLOUD_EVENTS, event.wire), event)


def test_property_names_inside_texts_do_not_confuse() -> None:
    """Text that looks like the wire's own structure is text."""
    trap = 'x","eventTime":"2020","subject":"wrong'
    event = published(Schema.EVENT_GRID, id=trap, subject=trap, data={"subject": "wrong"})

    assert wire.parse(Schema.EVENT_GRID, event.wire).subject == trap


def test_trace_is_kept() -> None:
    """The publish request's trace comes back with the event."""
    event = published(Schema.EVENT_GRID)

    assert wire.parse(Schema.EVENT_GRID, event.wire, TRACE).trace == TRACE
    assert wire.parse(Schema.EVENT_GRID, event.wire).trace is None


@pytest.mark.parametrize("schema", [Schema.EVENT_GRID, Schema.CLOUD_EVENTS])
def test_many(schema: Schema) -> None:
    """A segment's events come back in order, each with its own trace."""
    wires = [published(schema, id=str(number)).wire for number in range(3)]

    with_traces = [
        wire.parse(schema, each, trace)
        for each, trace in zip(wires, [None, TRACE, None], strict=True)
    ]

    assert [wire.parse(schema, each).id for each in wires] == ["0", "1", "2"]
    assert [event.trace for event in with_traces] == [None, TRACE, None]


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"{}", b'{"id":1}'])
def test_damage_is_an_error(damaged: bytes) -> None:
    """Bytes that no decoder wrote raise, and give no half event."""
    with pytest.raises(msgspec.MsgspecError):
        wire.parse(Schema.EVENT_GRID, damaged)


@pytest.mark.parametrize(
    "data", [b"null", b'{"a" : 1.0,"data":2}', b'"\\",\\"dataVersion\\":"', b"0"]
)
@pytest.mark.parametrize("schema", [Schema.EVENT_GRID, Schema.CLOUD_EVENTS])
def test_split(schema: Schema, data: bytes) -> None:
    """An event comes apart into its envelope and the bytes of its data."""
    event = published(schema, data="?")
    without = published(schema)

    envelope, found = wire.split(schema, event.wire.replace(b'"?"', data))

    assert found == data
    assert json.loads(envelope) == json.loads(without.wire)
    assert wire.split(schema, without.wire) == (without.wire, b"")


def test_split_of_an_event_with_extensions() -> None:
    """Data is last on the wire of a CloudEvent, wherever it stood when it was published."""
    body = b'{"data":{"x":1},"specversion":"1.0","ext":5,"id":"1","source":"/s","type":"t"}'
    [event] = cloudevents.decode(body, STRUCTURED)

    envelope, data = wire.split(Schema.CLOUD_EVENTS, event.wire)

    assert data == b'{"x":1}'
    assert json.loads(envelope).keys() == {"specversion", "ext", "id", "source", "type"}


@pytest.mark.parametrize("schema", [Schema.EVENT_GRID, Schema.CLOUD_EVENTS])
def test_deep_data_can_always_be_read_again(schema: Schema) -> None:
    """Data nested as deep as publishing took it is no trouble where the stack is deeper."""
    depth = 5_000
    while True:
        try:
            event = published(schema, data="?")
            deep = event.wire.replace(b'"?"', b"[" * depth + b"]" * depth)
            msgspec.json.decode(deep, type=msgspec.Raw)
            break
        except RecursionError:
            depth -= 10

    assert wire.parse(schema, deep).id == "1"
    assert wire.split(schema, deep)[1] == b"[" * depth + b"]" * depth
    _, body = delivery.encode(schema, Schema.CLOUD_EVENTS, [deep], False, RESOURCE)
    assert b"[" * depth in body
    assert delivery.attribute(deep, schema, "data.x") is None
