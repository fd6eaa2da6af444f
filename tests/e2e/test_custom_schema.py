"""A topic of a custom input schema, from the publisher to the handler."""

import json
from pathlib import Path

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.eventgrid import EventGridPublisherClient

from eventpost.core.errors import InvalidRequest
from eventpost.testing import Grid, Receiver

FIELDS = {"id": "number", "eventType": "order.kind", "subject": "where"}
DEFAULTS = {"subject": "shop/main", "dataVersion": "3.0"}
ORDER = {"number": "17", "order": {"kind": "Book", "amount": 12.5}}


@pytest.fixture
def orders(grid: Grid) -> Grid:
    grid.topic(
        "orders",
        input_schema="customeventschema",
        input_mapping_fields=FIELDS,
        input_mapping_default_values=DEFAULTS,
    )
    return grid


def test_the_object_is_delivered(orders: Grid, receiver: Receiver) -> None:
    """Without a delivery schema the handler gets the object as it was published."""
    orders.subscribe("orders", receiver)

    assert orders.post("orders", b'[{"number": "17",  "order":{"kind":"Book"}}]').status_code == 200

    (request,) = receiver.wait_for(1)
    assert request.body == b'[{"number": "17",  "order":{"kind":"Book"}}]'
    assert request.headers["aeg-event-type"] == "Notification"
    assert request.headers["aeg-data-version"] == "3.0"


@pytest.mark.parametrize("schema", ["eventgridschema", "cloudeventschemav1_0", "custominputschema"])
def test_every_delivery_schema(orders: Grid, receiver: Receiver, schema: str) -> None:
    """A subscription chooses: the Event Grid schema, CloudEvents, or the object; after a restart
    too."""
    view = orders.subscribe("orders", receiver, event_delivery_schema=schema)
    assert view.event_delivery_schema == schema
    receiver.always = 503
    orders.publish("orders", ORDER)
    receiver.wait_for(1)
    orders.restart()
    receiver.always = 200
    orders.clock.advance(60)

    event = receiver.requests[-1].event

    if schema == "custominputschema":
        assert event == ORDER
    elif schema == "eventgridschema":
        assert event["eventType"] == "Book"
        assert event["subject"] == "shop/main"
        assert event["id"] == "17"
        assert event["dataVersion"] == "3.0"
        assert event["data"] == ORDER
    else:
        assert (event["type"], event["id"], event["data"]) == ("Book", "17", ORDER)


@pytest.mark.parametrize(
    ("filter_", "is_wanted"),
    [
        ({"includedEventTypes": ["Book"]}, True),
        ({"includedEventTypes": ["Song"]}, False),
        ({"subjectBeginsWith": "shop/"}, True),
        ({"subjectBeginsWith": "web/"}, False),
        (("data.order.amount", "NumberGreaterThan", 12), True),
        (("data.order.amount", "NumberGreaterThan", 13), False),
        (("order.amount", "NumberGreaterThan", 12), True),
        (("DataVersion", "NumberIn", 3), False),
        (("EventType", "StringIn", "book"), True),
    ],
)
def test_filters(orders: Grid, receiver: Receiver, filter_: object, is_wanted: bool) -> None:
    """Filters see what was mapped, and the object below `data` or by its own names."""
    if isinstance(filter_, tuple):
        key, operator, value = filter_
        many = {"values": [value]} if operator.endswith("In") else {"value": value}
        filter_ = {"advancedFilters": [{"key": key, "operatorType": operator, **many}]}
    orders.subscribe("orders", receiver, filter=filter_)

    orders.publish("orders", ORDER)
    orders.settle()

    assert len(receiver.requests) == is_wanted
    matched = orders.client.test_subscription("handler", json.dumps(ORDER).encode())
    assert matched.is_match is is_wanted


def test_dead_letters(orders: Grid, receiver: Receiver, tmp_path: Path) -> None:
    """A dead letter is an Event Grid envelope with the object as its data."""
    receiver.always = 400
    orders.subscribe("orders", receiver, deadletter=f"folder:{tmp_path}")

    orders.publish("orders", ORDER)
    orders.settle()
    orders.clock.advance(2)

    (file,) = tmp_path.rglob("*.json")
    (letter,) = json.loads(file.read_text())
    assert letter["data"] == ORDER
    assert letter["eventType"] == "Book"
    assert letter["deadLetterReason"] == "UndeliverableDueToHttpBadRequest"
    (shown,) = orders.dead_letters()
    assert (shown.event_id, shown.event_type, shown.subject) == ("17", "Book", "shop/main")


def test_tracing_finds_it_by_its_id(orders: Grid, receiver: Receiver) -> None:
    """An event is found by the id that the mapping took from it."""
    orders.subscribe("orders", receiver)
    orders.publish("orders", ORDER)
    orders.settle()

    (story,) = orders.client.trace_event("17")

    assert story.topic == "orders"
    assert orders.client.trace_event("18") == []


def test_what_does_not_fit_the_mapping(orders: Grid) -> None:
    """An event without its mapped type is refused with the path, and nothing is kept."""
    answer = orders.post("orders", [ORDER, {"number": "18"}])

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["details"][0]["code"] == "InputJsonInvalid"
    assert "order.kind" in error["message"]


def test_the_official_client(orders: Grid, receiver: Receiver) -> None:
    """`azure-eventgrid` sends any objects to a topic of a custom schema."""
    orders.subscribe("orders", receiver)
    endpoint = f"{orders.url}/topics/orders/api/events"

    with EventGridPublisherClient(endpoint, AzureKeyCredential(orders.key("orders"))) as client:
        client.send([ORDER, {**ORDER, "number": "18"}])

    events = [event for request in receiver.wait_for(2) for event in request.events]
    assert [event["number"] for event in events] == ["17", "18"]


@pytest.mark.parametrize(
    ("declared", "code"),
    [
        ({"input_schema": "eventgridschema", "input_mapping_fields": FIELDS}, "InvalidMapping"),
        ({"input_mapping_fields": {"color": "c"}}, "InvalidMapping"),
        ({"input_mapping_fields": {"id": "a..b"}}, "InvalidMapping"),
        ({"input_mapping_fields": {"topic": "t"}}, "InvalidMapping"),
        ({"input_mapping_default_values": {"id": "1"}}, "InvalidMapping"),
        ({"input_mapping_default_values": {"subject": "x" * 513}}, "InvalidMapping"),
    ],
)
def test_mappings_that_cannot_be(grid: Grid, declared: dict[str, object], code: str) -> None:
    """A mapping that means nothing is refused when the topic is made, and no topic is kept."""
    wanted = {"input_schema": "customeventschema", **declared}

    with pytest.raises(InvalidRequest) as refused:
        grid.topic("songs", **wanted)  # type: ignore[arg-type] # by name

    assert refused.value.code == code
    assert refused.value.fix
    assert "songs" not in [topic.name for topic in grid.client.list_topics()]


def test_the_view_shows_the_mapping(orders: Grid) -> None:
    """What was declared is shown, its names in lower case as the command line has them."""
    topic = orders.client.show_topic("orders")

    assert topic.input_schema == "customeventschema"
    assert topic.input_mapping_fields["eventtype"] == "order.kind"
    assert topic.input_mapping_default_values == {"subject": "shop/main", "dataversion": "3.0"}
