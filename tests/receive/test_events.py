"""Every body that eventpost sends is read back as it was published."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.v1.conversion import to_binary, to_structured
from cloudevents.v1.http import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Schema
from eventpost.formats import delivery, eventgrid, publish
from eventpost.receive.events import ReceivedEvent, read

TOPIC = "/topics/songs"
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


def delivered(
    wires: list[bytes], input_schema: Schema, output_schema: Schema, *, is_batched: bool = False
) -> tuple[ReceivedEvent, ...]:
    content_type, body = delivery.encode(input_schema, output_schema, wires, is_batched, TOPIC)
    return read({"content-type": content_type.decode()}, body, is_custom=False)


def published(event: dict[str, Any], schema: Schema) -> bytes:
    headers = {b"content-type": b"application/cloudevents+json"}
    return publish.decode_publish(schema, json.dumps(event).encode(), headers, TOPIC)[0].wire


@given(
    data=JSON_VALUES,
    count=st.integers(1, 3),
    output=st.sampled_from([Schema.EVENT_GRID, Schema.CLOUD_EVENTS]),
)
def test_event_grid_events(data: object, count: int, output: Schema) -> None:
    """An event in the Event Grid schema arrives whole, also converted, alone and in a batch."""
    wires = [
        eventgrid.make(
            TOPIC, event_id=f"id-{number}", event_type="T", subject="s/1", now_ms=1_500, data=data
        ).wire
        for number in range(count)
    ]

    events = delivered(wires, Schema.EVENT_GRID, output)

    assert [event.id for event in events] == [f"id-{number}" for number in range(count)]
    for event in events:
        assert (event.type, event.subject, event.source) == ("T", "s/1", TOPIC)
        assert event.time == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
        assert event.data == data
        assert event.schema is output


@given(data=JSON_VALUES, is_batched=st.booleans())
def test_cloud_events(data: object, is_batched: bool) -> None:
    """A CloudEvent arrives whole, extensions with their types included."""
    sent = {
        "specversion": "1.0", "id": "1", "source": "/radio", "type": "T", "data": data,
        "time": "2026-01-01T00:00:00Z", "dataschema": "https://x/s", "datacontenttype": "text/json",
        "genre": "blues", "rank": 5, "live": True,
    }  # fmt: skip

    (event,) = delivered(
        [published(sent, Schema.CLOUD_EVENTS)],
        Schema.CLOUD_EVENTS,
        Schema.CLOUD_EVENTS,
        is_batched=is_batched,
    )

    assert (event.id, event.source, event.type, event.subject) == ("1", "/radio", "T", "")
    assert event.data == data
    assert event.extensions == {"genre": "blues", "rank": 5, "live": True}
    assert (event.data_schema, event.data_content_type) == ("https://x/s", "text/json")


def test_bytes_stay_bytes() -> None:
    """Binary data arrive as the bytes they were."""
    data = base64.b64encode(b"\x00\xff").decode()
    sent = {"id": "1", "source": "/r", "type": "T", "data_base64": data}
    wire = published(sent, Schema.CLOUD_EVENTS)

    (event,) = delivered([wire], Schema.CLOUD_EVENTS, Schema.CLOUD_EVENTS)

    assert event.data == b"\x00\xff"
    with pytest.raises(ValueError, match="bytes"):
        event.data_as(dict)


@pytest.mark.parametrize("convert", [to_structured, to_binary])
def test_the_official_sdk(convert: Any) -> None:
    """What the official SDK sends is read, in structured and in binary mode."""
    attributes = {"type": "T", "source": "/radio", "id": "7", "genre": "blues"}
    headers, body = convert(CloudEvent(attributes, {"title": "Dust My Broom"}))
    headers = {name.lower(): value for name, value in headers.items()}
    headers.setdefault("content-type", "application/json")

    (event,) = read(headers, body, is_custom=False)

    assert (event.id, event.type, event.source) == ("7", "T", "/radio")
    assert event.extensions == {"genre": "blues"}
    assert event.data == {"title": "Dust My Broom"}


@dataclass
class Song:
    title: str
    year: int = 0


def test_data_as_a_type() -> None:
    """Data come as the type that is asked for, and what does not fit is a ValueError."""
    body = json.dumps([{"id": "1", "eventType": "T", "data": {"title": "Boom", "year": 1952}}])
    (event,) = read({}, body.encode(), is_custom=False)

    assert event.data_as(Song) == Song("Boom", 1952)
    with pytest.raises(ValueError, match="array"):
        event.data_as(list[int])  # its message names what was expected


def test_an_event_without_data() -> None:
    """Data that are not there are None, and a time without zone is UTC."""
    body = b'[{"id":"1","eventType":"T","eventTime":"2026-01-01T00:00:00"}]'

    (event,) = read({}, body, is_custom=False)

    assert event.data is None
    assert event.time == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/cloudevents+json", b'{"id":"1"}'),
        ("application/cloudevents+json", b"[]"),
        ("application/cloudevents-batch+json", b"{}"),
        ("application/cloudevents+json", b""),
    ],
)
def test_what_is_no_cloud_event(content_type: str, body: bytes) -> None:
    """A body that is not what its content type says is refused."""
    with pytest.raises(InvalidEvent):
        read({"content-type": content_type}, body, is_custom=False)
