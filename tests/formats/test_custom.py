"""Objects of a custom input schema become events by the topic's mapping."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Event, Schema
from eventpost.core.sources import InputMapping
from eventpost.formats import bodies, delivery
from eventpost.formats.custom import DEFAULT_TYPE, CustomInput
from eventpost.formats.wire import parse, split

TOPIC = "/topics/orders"
NOW_MS = 1_767_225_600_123
ORDER = {"order": {"number": 7, "kind": "book"}, "when": "2026-01-02T03:04:05Z", "v": 2}
FULL = InputMapping(
    fields={
        "id": "order.number",
        "eventtype": "order.kind",
        "subject": "where",
        "eventtime": "when",
        "dataversion": "v",
    },
    defaults={"subject": "shop", "dataversion": "1.0"},
)


def decode(body: object, mapping: InputMapping = FULL) -> list[Event]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CustomInput(mapping, lambda: "made", lambda: NOW_MS).decode(raw, TOPIC)


def envelope(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event.wire)
    return found


def test_mapped_fields_and_defaults() -> None:
    """A field comes from its path, and from its default where nothing is; numbers are texts."""
    (event,) = decode(ORDER)

    assert envelope(event) == {
        "id": "7",
        "topic": TOPIC,
        "subject": "shop",
        "eventType": "book",
        "eventTime": "2026-01-02T03:04:05Z",
        "data": ORDER,
        "dataVersion": "2",
        "metadataVersion": "1",
    }
    assert (event.id, event.type, event.subject) == ("7", "book", "shop")


def test_what_is_not_mapped_is_made() -> None:
    """Without a mapping every object is an event: with an id, a time and a type of ours."""
    (event,) = decode({"a": 1}, InputMapping())

    assert envelope(event) == {
        "id": "made",
        "topic": TOPIC,
        "subject": "",
        "eventType": DEFAULT_TYPE,
        "eventTime": "2026-01-01T00:00:00.1230000Z",
        "data": {"a": 1},
        "dataVersion": "",
        "metadataVersion": "1",
    }


def test_a_mapped_id_that_is_missing_is_made() -> None:
    """An event without the mapped id or time gets them, as one without a mapping does."""
    (event,) = decode({"order": {"kind": "book"}})

    assert event.id == "made"
    assert envelope(event)["eventTime"] == "2026-01-01T00:00:00.1230000Z"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"order": {}}, "'eventType'"),
        ({"order": {"kind": None}}, "'order.kind'"),
        ({"order": {"kind": {"a": 1}}}, "'eventType'"),
        ({"order": {"kind": "x"}, "when": "soon"}, "'when'"),
        ([], "does not conform"),
        ([1], "StartObject"),
        (b"", "end"),
        (b"{", "not JSON"),
        (b"\xff", "UTF-8"),
        (b"[" * 100_000, "JSON"),
        ([ORDER, {"order": {}}], "'eventType'"),
    ],
)
def test_what_is_refused(body: object, says: str) -> None:
    """A mapped type that is not there, a time that is none and what is no object: 400, and none
    of the request is kept."""
    with pytest.raises(InvalidEvent) as refused:
        decode(body)

    assert refused.value.status == 400
    assert refused.value.detail_code == "InputJsonInvalid"
    assert says.lower() in str(refused.value).lower()


@pytest.mark.parametrize(("extra", "is_taken"), [(0, True), (1, False)])
def test_the_bound_of_an_event(extra: int, is_taken: bool) -> None:
    """An object at the bound of an event is taken, one byte more is 413."""
    frame = len(b'{"a":""}')
    body = b'{"a":"' + b"x" * (bodies.EVENT_BYTES_MAX - frame + extra) + b'"}'

    if is_taken:
        assert len(decode(body, InputMapping())) == 1
        return
    with pytest.raises(InvalidEvent) as refused:
        decode(body, InputMapping())
    assert refused.value.status == 413


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.recursive(
            st.none() | st.booleans() | st.text(st.characters(exclude_categories=["Cs"])),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
        max_size=5,
    )
)
def test_the_object_stays_as_it_was(content: dict[str, Any]) -> None:
    """Any object comes out byte for byte, whatever its names: alone, in a batch, after storing."""
    raw = json.dumps(content, indent=1, ensure_ascii=False).encode()
    (event,) = decode(raw, InputMapping(defaults={"subject": ',"data":', "eventtype": '","'}))
    stored = parse(Schema.CUSTOM, event.wire)

    assert split(Schema.CUSTOM, stored.wire)[1] == raw
    assert (stored.id, stored.type, stored.subject) == ("made", '","', ',"data":')
    content_type, body = delivery.encode(
        Schema.CUSTOM, Schema.CUSTOM, [stored.wire, stored.wire], True, TOPIC
    )
    assert body == b"[" + raw + b"," + raw + b"]"
    assert content_type == delivery.EVENT_GRID_TYPE


def test_delivered_as_the_other_schemas() -> None:
    """It goes out as an Event Grid event or as a CloudEvent, too, its data the whole object."""
    (event,) = decode(ORDER)

    _, grid_body = delivery.encode(Schema.CUSTOM, Schema.EVENT_GRID, [event.wire], False, TOPIC)
    _, cloud_body = delivery.encode(Schema.CUSTOM, Schema.CLOUD_EVENTS, [event.wire], False, TOPIC)

    (grid_event,) = json.loads(grid_body)
    cloud = json.loads(cloud_body)
    assert grid_event["data"] == cloud["data"] == ORDER
    assert (cloud["source"], cloud["type"], cloud["id"]) == (TOPIC, "book", "7")
