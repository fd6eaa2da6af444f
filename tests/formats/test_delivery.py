"""What handlers receive."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.bounds import check_delivery_schema
from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Schema
from eventpost.formats import cloudevents, delivery, eventgrid, topics

RESOURCE = topics.resource("orders")
EVENT = {
    "id": "1",
    "subject": "orders/7",
    "eventType": "Order.Created",
    "eventTime": "2026-11-21T18:53:03Z",
    "data": {
        "key1": "text",
        "number": 1.50,
        "flag": True,
        "nothing": None,
        "list": [1],
        "deep": {"Key": "é"},
    },
    "dataVersion": "2.0",
}
CLOUD_EVENT = {"id": "1", "source": "/s", "type": "t", "specversion": "1.0", "extension": "x"}
EG, CE, CUSTOM = Schema.EVENT_GRID, Schema.CLOUD_EVENTS, Schema.CUSTOM


def eg_wire(**changes: object) -> bytes:
    return eventgrid.decode(json.dumps(EVENT | changes).encode(), RESOURCE)[0].wire


def ce_wire(**changes: object) -> bytes:
    headers = {b"content-type": b"application/cloudevents+json"}
    return cloudevents.decode(json.dumps(CLOUD_EVENT | changes).encode(), headers)[0].wire


def converted(wire: bytes) -> dict[str, Any]:
    _, body = delivery.encode(EG, CE, [wire], False, RESOURCE)
    loaded = json.loads(body)
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize("is_batched", [True, False])
def test_event_grid_is_an_array(is_batched: bool) -> None:
    """Event Grid's schema is delivered as an array, of one event as well, byte for byte."""
    wire = eg_wire()

    content_type, body = delivery.encode(EG, EG, [wire], is_batched, RESOURCE)

    assert content_type == b"application/json; charset=utf-8"
    assert body == b"[" + wire + b"]"


def test_event_grid_batch() -> None:
    """A batch is one array in order."""
    wires = [eg_wire(id=str(number)) for number in range(3)]

    _, body = delivery.encode(EG, EG, wires, True, RESOURCE)

    assert [event["id"] for event in json.loads(body)] == ["0", "1", "2"]


def test_cloud_event_stands_alone() -> None:
    """A CloudEvent is delivered as one object, byte for byte."""
    wire = ce_wire()

    assert delivery.encode(CE, CE, [wire], False, RESOURCE) == (
        b"application/cloudevents+json; charset=utf-8",
        wire,
    )


@pytest.mark.parametrize("count", [1, 3])
def test_cloud_event_batch(count: int) -> None:
    """A batched subscription gets the batch form, for a single event as well."""
    wires = [ce_wire(id=str(number)) for number in range(count)]

    content_type, body = delivery.encode(CE, CE, wires, True, RESOURCE)

    assert content_type == b"application/cloudevents-batch+json; charset=utf-8"
    assert body == b"[" + b",".join(wires) + b"]"


def test_event_grid_to_cloud_event() -> None:
    """An Event Grid event becomes a CloudEvent whose source is the topic."""
    assert converted(eg_wire()) == {
        "specversion": "1.0",
        "id": "1",
        "source": RESOURCE,
        "type": "Order.Created",
        "subject": "orders/7",
        "time": "2026-11-21T18:53:03Z",
        "dataschema": "#2.0",
        "data": EVENT["data"],
    }


def test_conversion_leaves_out_what_is_not_there() -> None:
    """Without data and data version the CloudEvent has neither `data` nor `dataschema`."""
    event = {name: EVENT[name] for name in EVENT if name not in ("data", "dataVersion")}
    wire = eventgrid.decode(json.dumps(event).encode(), RESOURCE)[0].wire

    assert converted(wire).keys() == {
        *("specversion", "id", "source", "type", "subject", "time"),
    }


def test_data_version_is_made_a_fragment() -> None:
    """A data version with characters that a URI does not allow is escaped."""
    assert converted(eg_wire(dataVersion="v 1 é"))["dataschema"] == "#v%201%20%C3%A9"


def test_converted_event_is_a_valid_cloud_event() -> None:
    """What is delivered as a CloudEvent can be published as one."""
    content_type, body = delivery.encode(EG, CE, [eg_wire(), eg_wire()], True, RESOURCE)

    events = cloudevents.decode(body, {b"content-type": content_type})

    assert [event.subject for event in events] == ["orders/7", "orders/7"]


@given(
    st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.dictionaries(st.text(), st.integers())
)
def test_conversion_keeps_data_bytes(data: object) -> None:
    """`data` keeps its bytes when the schema changes."""
    text = json.dumps(data)
    wire = eg_wire(data="?").replace(b'"?"', text.encode())

    assert b'"data":' + text.encode() in delivery.encode(EG, CE, [wire], False, RESOURCE)[1]


@pytest.mark.parametrize(
    ("source", "target"),
    [(EG, EG), (EG, CE), (CE, CE), (CUSTOM, CUSTOM), (CUSTOM, EG), (CUSTOM, CE)],
)
def test_schemas_allowed(source: Schema, target: Schema) -> None:
    """The topic's own schema can be delivered, Event Grid as CloudEvents, and a custom one as all
    of them."""
    check_delivery_schema(source, target)


@pytest.mark.parametrize(("source", "target"), [(CE, EG), (CE, CUSTOM), (EG, CUSTOM)])
def test_schemas_refused(source: Schema, target: Schema) -> None:
    """What would lose a part of the event is refused, naming both schemas."""
    with pytest.raises(InvalidRequest) as caught:
        check_delivery_schema(source, target)

    assert str(source) in caught.value.what
    assert str(target) in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.key1", "text"),
        ("data.number", "1.5"),
        ("data.flag", "true"),
        ("data.deep.Key", "é"),
        ("data.DEEP.key", "é"),
        ("Subject", "orders/7"),
        ("eventType", "Order.Created"),
        ("topic", RESOURCE),
        ("data.nothing", None),
        ("data.list", None),
        ("data.deep", None),
        ("data", None),
        ("data.absent", None),
        ("data.key1.more", None),
        ("absent", None),
        ("", None),
        ("data..key1", None),
    ],
)
def test_attribute(path: str, value: str | None) -> None:
    """A path gives text, a number or a boolean; everything else is no value."""
    assert delivery.attribute(eg_wire(), EG, path) == value


def test_attribute_keeps_how_a_number_was_written() -> None:
    """A number is taken as its text, so that nothing is rounded."""
    wire = eg_wire(data="?").replace(b'"?"', b"1.50e2")

    assert delivery.attribute(wire, EG, "data") == "1.50e2"


def test_attribute_prefers_the_exact_name() -> None:
    """Of two names that differ in case the exact one is taken."""
    wire = eg_wire(data={"KEY": "upper", "key": "lower"})

    assert delivery.attribute(wire, EG, "data.key") == "lower"


def test_attribute_of_a_cloud_event() -> None:
    """An extension of a CloudEvent is an attribute."""
    assert delivery.attribute(ce_wire(), CE, "extension") == "x"


def test_data_version() -> None:
    """The data version is found behind any data; a CloudEvent has none."""
    assert delivery.data_version(eg_wire(data={"dataVersion": "no"}), EG) == "2.0"
    for version in ('a"b', "\\", "é", "", '","metadataVersion":"1"}', "\n"):
        assert delivery.data_version(eg_wire(dataVersion=version), EG) == version
    assert delivery.data_version(ce_wire(), CE) == ""


def test_validation_event() -> None:
    """The handshake carries the code and the URL in an array of one event."""
    body = delivery.validation_event(RESOURCE, "id", 1_795_000_000_123, "code", "https://h/v")

    [event] = json.loads(body)
    assert event == {
        "id": "id",
        "topic": RESOURCE,
        "subject": "",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2026-11-18T11:06:40.1230000Z",
        "data": {"validationCode": "code", "validationUrl": "https://h/v"},
        "dataVersion": "1",
        "metadataVersion": "1",
    }


def test_deletion_event() -> None:
    """The notice of deletion names the event subscription."""
    [event] = json.loads(delivery.deletion_event(RESOURCE, "id", 0, "blues"))

    assert event["eventType"] == "Microsoft.EventGrid.SubscriptionDeletedEvent"
    assert event["data"]["eventSubscriptionId"].endswith("/eventSubscriptions/blues")
