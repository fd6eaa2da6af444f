"""Messages of queues: from each format to events, and from events to each format."""

import base64
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Delivery, Event, Schema
from eventpost.core.sources import InputMapping, MessageFormat
from eventpost.formats import messaging, topics
from eventpost.formats.custom import CustomInput
from eventpost.formats.messages import Incoming, Origin, Outgoing, Target

EG, CE = Schema.EVENT_GRID, Schema.CLOUD_EVENTS
RESOURCE = topics.resource("songs")
SENT_MS = 1_767_323_045_007
SENT = "2026-01-02T03:04:05.0070000Z"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

GRID_EVENT = {
    "id": "1",
    "subject": "genre/blues",
    "eventType": "Song.Requested",
    "eventTime": "2026-01-01T00:00:00Z",
    "data": {"title": "Dust My Broom"},
    "dataVersion": "1",
}
CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/station",
    "type": "Song.Requested",
    "data": {"title": "Dust My Broom"},
}


def target(schema: Schema = EG, **mapping: dict[str, str]) -> Target:
    return Target(
        schema=schema,
        topic_resource=RESOURCE,
        queue="letters",
        mapping=InputMapping(**mapping),
        new_id=lambda: "made-up",
        now_ms=lambda: SENT_MS + 1_000,
    )


def decoded(
    name: MessageFormat, body: bytes, wanted: Target | None = None, **message: Any
) -> list[Event]:
    named: dict[str, Any] = {"message_id": "m-1", "sent_ms": SENT_MS} | message
    return messaging.decoder(name)(Incoming(body=body, **named), wanted or target())


def one(name: MessageFormat, body: bytes, wanted: Target | None = None, **message: Any) -> Any:
    """The only event of a message, as JSON."""
    (event,) = decoded(name, body, wanted, **message)
    wire = json.loads(event.wire)
    assert event.id == wire["id"]
    assert event.type == wire.get("eventType", wire.get("type"))
    assert event.subject == wire.get("subject", "")
    return wire


def encoded(
    name: MessageFormat, event: Event, schema: Schema = EG, output: Schema | None = None
) -> Outgoing:
    origin = Origin(
        input_schema=schema,
        output_schema=output or schema,
        topic_resource=RESOURCE,
        queue="letters",
        now_ms=lambda: SENT_MS,
    )
    delivery = Delivery(event=event, position=0, published_ms=SENT_MS, offered_ms=SENT_MS)
    return messaging.encoder(name)(delivery, origin)


def text(value: object) -> bytes:
    return json.dumps(value).encode()


# --- event ----------------------------------------------------------------------------------------


def test_an_event_grid_event() -> None:
    """An event is taken as on the data plane; its data keeps its bytes."""
    body = text(GRID_EVENT).replace(b'"data": {"title"', b'"data": { "title" ')

    (event,) = decoded(MessageFormat.EVENT, body)

    assert event.wire.count(b'{ "title" : "Dust My Broom"}') == 1
    assert json.loads(event.wire)["topic"] == RESOURCE


def test_several_events_in_one_message() -> None:
    """An array is several events, on a topic of either schema."""
    many = [GRID_EVENT, GRID_EVENT | {"id": "2"}]
    assert [each.id for each in decoded(MessageFormat.EVENT, text(many))] == ["1", "2"]

    batch = [CLOUD_EVENT, CLOUD_EVENT | {"id": "2"}]
    events = decoded(MessageFormat.EVENT, text(batch), target(CE))
    assert [each.id for each in events] == ["1", "2"]


def test_an_event_of_another_topic() -> None:
    """What was published to another topic before is an event of this one; one by one in a batch."""
    body = text([GRID_EVENT | {"topic": "/subscriptions/1/topics/x"}, GRID_EVENT])

    events = decoded(MessageFormat.EVENT, body)

    assert [json.loads(each.wire)["topic"] for each in events] == [RESOURCE, RESOURCE]


def test_event_grids_events_become_cloud_events() -> None:
    """On a topic of CloudEvents an Event Grid event is one; its own topic is the source."""
    body = text([GRID_EVENT | {"topic": "/subscriptions/1/topics/x"}, GRID_EVENT])

    first, second = decoded(MessageFormat.EVENT, body, target(CE))

    wire = json.loads(first.wire)
    assert (wire["source"], wire["type"]) == ("/subscriptions/1/topics/x", "Song.Requested")
    assert wire["data"] == GRID_EVENT["data"]
    assert json.loads(second.wire)["source"] == RESOURCE


def test_a_cloud_event_is_no_event_grid_event() -> None:
    """The other way round it is refused, and told what would take both."""
    with pytest.raises(InvalidEvent, match="taken by a topic of cloudeventschemav1_0"):
        decoded(MessageFormat.EVENT, text(CLOUD_EVENT))


@pytest.mark.parametrize("prefix", ["ce_", "ce-", "cloudEvents:", "cloudEvents_", "CE_"])
def test_a_cloud_event_in_binary_mode(prefix: str) -> None:
    """By the names of every binding; values are taken as they are, bytes as UTF-8."""
    attributes = {
        f"{prefix}specversion": "1.0",
        f"{prefix}id": "100%25",
        f"{prefix}source": b"/station",
        f"{prefix}type": '"quoted"',
        f"{prefix}genre": "blues",
        "other": "left out",
    }

    wire = one(
        MessageFormat.EVENT,
        b'{"title": 1}',
        target(CE),
        attributes=attributes,
        content_type="application/json",
    )

    assert wire == {
        "specversion": "1.0",
        "id": "100%25",
        "source": "/station",
        "type": '"quoted"',
        "genre": "blues",
        "datacontenttype": "application/json",
        "data": {"title": 1},
    }


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("", b"[1]", {"data": [1]}),
        ("application/cloudy+json", b"[1]", {"data": [1]}),
        ("text/plain; charset=utf-8", "grün".encode(), {"data": "grün"}),
        ("text/plain", b"\xff", {"data_base64": "/w=="}),
        ("image/png", b"\x89PNG", {"data_base64": "iVBORw=="}),
        ("image/png", b"", {}),
    ],
)
def test_the_data_of_binary_mode(content_type: str, body: bytes, data: dict[str, object]) -> None:
    """JSON stands as it is, text as a string, anything else as base64, nothing as nothing."""
    attributes = {f"ce_{name}": value for name, value in CLOUD_EVENT.items() if name != "data"}

    wire = one(
        MessageFormat.EVENT, body, target(CE), attributes=attributes, content_type=content_type
    )

    assert {name: wire[name] for name in ("data", "data_base64") if name in wire} == data
    assert wire.get("datacontenttype", "") == content_type


@pytest.mark.parametrize("schema", [EG, CE])
@pytest.mark.parametrize(
    "body", [b"", b"hello", b"7", b"[]", b"{}", b"[1]", b'{"id": "1"}', b"\xff", b"[" * 5_000]
)
def test_what_is_no_event(schema: Schema, body: bytes) -> None:
    """Anything that is no event of the schema is refused as on the data plane."""
    with pytest.raises(InvalidEvent):
        decoded(MessageFormat.EVENT, body, target(schema))


def test_an_event_goes_out_as_one_object() -> None:
    """In the topic's schema it goes as it is stored, with its content type and its trace."""
    (event,) = decoded(MessageFormat.EVENT, text(GRID_EVENT), attributes={"TraceParent": TRACE})
    assert event.trace == (TRACE, "")

    message = encoded(MessageFormat.EVENT, event)

    assert message.body == event.wire
    assert message.content_type == "application/json"
    assert message.attributes == {"traceparent": TRACE}


def test_an_event_goes_out_as_a_cloud_event() -> None:
    """In the delivery schema of CloudEvents it is converted, as for a webhook."""
    (event,) = decoded(MessageFormat.EVENT, text(GRID_EVENT))
    message = encoded(MessageFormat.EVENT, event, EG, CE)
    assert json.loads(message.body)["source"] == RESOURCE
    assert message.content_type.startswith("application/cloudevents+json")

    (event,) = decoded(MessageFormat.EVENT, text(CLOUD_EVENT), target(CE))
    assert encoded(MessageFormat.EVENT, event, CE).body == event.wire


# --- raw ------------------------------------------------------------------------------------------


def test_raw_data_on_a_topic_of_event_grid() -> None:
    """A message without more is an event of a default type with the queue as its subject."""
    assert one(MessageFormat.RAW, b' {"a" : 1.0} ') == {
        "id": "m-1",
        "topic": RESOURCE,
        "subject": "letters",
        "eventType": "Eventpost.Message",
        "eventTime": SENT,
        "data": {"a": 1.0},
        "dataVersion": "",
        "metadataVersion": "1",
    }


def test_raw_data_on_a_topic_of_cloud_events() -> None:
    """The same as a CloudEvent, with the topic as its source."""
    assert one(MessageFormat.RAW, b'{"a": 1}', target(CE)) == {
        "specversion": "1.0",
        "id": "m-1",
        "source": RESOURCE,
        "type": "Eventpost.Message",
        "subject": "letters",
        "time": SENT,
        "datacontenttype": "application/json",
        "data": {"a": 1},
    }


def test_what_a_message_does_not_say_is_made_up() -> None:
    """Without an id one is made, without a time it is now."""
    wire = one(MessageFormat.RAW, b"1", message_id="", sent_ms=0)

    assert (wire["id"], wire["eventTime"]) == ("made-up", "2026-01-02T03:04:06.0070000Z")


def test_fields_are_mapped() -> None:
    """Paths lead into the body, the attributes and what the system says; else a default holds."""
    fields = {
        "eventtype": "data.kind",
        "subject": "attributes.genre",
        "id": "system.MessageKey",
        "eventtime": "data.at",
        "dataversion": "data.nothing.there",
    }
    wire = one(
        MessageFormat.RAW,
        text({"kind": "Song", "at": "2026-05-01T00:00:00Z"}),
        target(fields=fields, defaults={"eventtype": "Unused", "dataversion": "7"}),
        attributes={"Genre": b"blues"},
        system_attributes={"MessageKey": "k-1"},
    )

    assert (wire["eventType"], wire["subject"], wire["id"]) == ("Song", "blues", "k-1")
    assert (wire["eventTime"], wire["dataVersion"]) == ("2026-05-01T00:00:00Z", "7")


@pytest.mark.parametrize("body", [b"no JSON", b"[1]", b"\xff", b'{"kind": {"deep": 1}}', b"{}"])
def test_a_default_stands_in(body: bytes) -> None:
    """Where a path leads nowhere, or to no simple value, the default is taken."""
    wanted = target(fields={"eventtype": "data.kind"}, defaults={"eventtype": "Other"})

    assert one(MessageFormat.RAW, body, wanted)["eventType"] == "Other"


@pytest.mark.parametrize(
    ("at", "time"),
    [
        (1_767_323_045, "2026-01-02T03:04:05.0000000Z"),
        (1_767_323_045_007, SENT),
        ("1767323045", "2026-01-02T03:04:05.0000000Z"),
        ("2026-05-01", "2026-05-01"),
    ],
)
def test_times_are_mapped(at: object, time: str) -> None:
    """A time is ISO 8601, or a number of seconds or milliseconds."""
    wanted = target(fields={"eventtime": "data.at"})

    assert one(MessageFormat.RAW, text({"at": at}), wanted)["eventTime"] == time


@pytest.mark.parametrize("at", ["soon", "9" * 18, "9" * 40, 10**17])
def test_times_that_are_none(at: object) -> None:
    """What is mapped to a time and is none makes the message no event."""
    with pytest.raises(InvalidEvent):
        one(MessageFormat.RAW, text({"at": at}), target(fields={"eventtime": "data.at"}))


@pytest.mark.parametrize("schema", [EG, CE])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"a" : 1.0}', ""),
        (b'"a string"', ""),
        ("grüße".encode(), "text/plain"),
        (b"\xff\x00\xfe", ""),
        (b"\x89PNG\x00", "image/png"),
        (b"null", "application/json"),
    ],
)
def test_raw_data_comes_back_as_it_was(schema: Schema, body: bytes, content_type: str) -> None:
    """Data that was pulled as raw and goes out as raw has the bytes that it had, but for text on a
    topic of Event Grid's schema, which has no place to say that it is none."""
    (event,) = decoded(MessageFormat.RAW, body, target(schema), content_type=content_type)

    message = encoded(MessageFormat.RAW, event, schema)

    if schema is EG and content_type == "text/plain":
        assert json.loads(message.body) == body.decode()
    else:
        assert message.body == body
        assert message.content_type


def test_raw_of_an_event_without_data() -> None:
    """An event without data goes out as null: some queues take no empty body."""
    (event,) = decoded(
        MessageFormat.EVENT, text({k: v for k, v in GRID_EVENT.items() if k != "data"})
    )

    assert encoded(MessageFormat.RAW, event).body == b"null"


def test_somebody_elses_base64() -> None:
    """An event whose `dataVersion` says base64 and that holds none goes out as it is."""
    event_body = text(GRID_EVENT | {"data": "not base64!", "dataVersion": "base64"})
    (event,) = decoded(MessageFormat.EVENT, event_body)

    assert encoded(MessageFormat.RAW, event).body == b'"not base64!"'


# --- dramatiq -------------------------------------------------------------------------------------

JOB = {
    "queue_name": "default",
    "actor_name": "play",
    "args": [{"title": "Dust My Broom"}],
    "kwargs": {"loud": True},
    "options": {"eta": SENT_MS + 5_000, "retries": 2},
    "message_id": "b5ae1e2c-0000",
    "message_timestamp": SENT_MS,
}


@pytest.mark.parametrize("schema", [EG, CE])
@pytest.mark.parametrize("is_base64", [False, True])
def test_a_dramatiq_message(schema: Schema, is_base64: bool) -> None:
    """A message is an event of its actor's name, and that very message again when it goes out."""
    body = json.dumps(JOB, indent=1).encode()
    sent = base64.b64encode(body) if is_base64 else body

    wire = one(MessageFormat.DRAMATIQ, sent, target(schema))

    assert wire["id"] == JOB["message_id"]
    assert wire.get("eventType", wire.get("type")) == "play"
    assert wire["subject"] == "default"
    assert wire.get("eventTime", wire.get("time")) == SENT
    assert wire["data"] == JOB
    (event,) = decoded(MessageFormat.DRAMATIQ, sent, target(schema))
    message = encoded(MessageFormat.DRAMATIQ, event, schema)
    assert message.body == body
    assert message.delay_s == 5.0


def test_a_dramatiq_message_over_a_conversion() -> None:
    """Also after an Event Grid event with a message became a CloudEvent elsewhere."""
    (event,) = decoded(MessageFormat.DRAMATIQ, text(JOB))
    converted = encoded(MessageFormat.EVENT, event, EG, CE)
    (again,) = decoded(MessageFormat.EVENT, converted.body, target(CE))

    assert encoded(MessageFormat.DRAMATIQ, again, CE).body == text(JOB)


def test_an_event_that_was_no_dramatiq_message() -> None:
    """Any other event is a message for the actor of its type, with its data as the argument."""
    (event,) = decoded(MessageFormat.EVENT, text(GRID_EVENT))

    message = json.loads(encoded(MessageFormat.DRAMATIQ, event).body)

    assert message == {
        "queue_name": "letters",
        "actor_name": "Song.Requested",
        "args": [GRID_EVENT["data"]],
        "kwargs": {},
        "options": {},
        "message_id": "1",
        "message_timestamp": SENT_MS,
    }


def test_somebody_elses_dramatiq() -> None:
    """An event that only says that it holds a message is an argument like any other."""
    (event,) = decoded(MessageFormat.EVENT, text(GRID_EVENT | {"dataVersion": "dramatiq-1"}))

    assert json.loads(encoded(MessageFormat.DRAMATIQ, event).body)["args"] == [GRID_EVENT["data"]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"{}",
        text({name: value for name, value in JOB.items() if name != "args"}),
        text(JOB | {"args": {}}),
        text(JOB | {"message_id": ""}),
        text(JOB | {"message_timestamp": 10**17}),
        base64.b64encode(b"[1]"),
    ],
)
def test_what_is_no_dramatiq_message(body: bytes) -> None:
    """A body that is no message, or lacks a field, is refused."""
    with pytest.raises(InvalidEvent):
        decoded(MessageFormat.DRAMATIQ, body)


@pytest.mark.parametrize("eta", ["soon", None, -5, SENT_MS - 1])
def test_an_eta_that_is_none_or_over(eta: object) -> None:
    """A time to wait for that is none, or over, asks for no delay."""
    (event,) = decoded(MessageFormat.DRAMATIQ, text(JOB | {"options": {"eta": eta}}))

    assert encoded(MessageFormat.DRAMATIQ, event).delay_s == 0


# --- roadrunner -----------------------------------------------------------------------------------

RR = {
    "rr_id": "job-7",
    "rr_job": "play",
    "rr_headers": b'{"x-station":["blues"]}',
    "rr_delay": "5",
    "rr_priority": "3",
    "rr_auto_ack": "false",
}


@pytest.mark.parametrize("schema", [EG, CE])
def test_a_roadrunner_job(schema: Schema) -> None:
    """A job is an event of its name, and that very job again when it goes out."""
    (event,) = decoded(MessageFormat.ROADRUNNER, b'{"title": 1}', target(schema), attributes=RR)
    assert (event.id, event.type, event.subject) == ("job-7", "play", "letters")

    message = encoded(MessageFormat.ROADRUNNER, event, schema)

    assert json.loads(message.body) == {"title": 1}
    assert message.attributes == RR | {"rr_priority": 3}
    assert (message.delay_s, message.priority, message.content_type) == (5.0, 3, "")


def test_a_message_of_somebody_else_is_a_roadrunner_job() -> None:
    """What RoadRunner did not send has the plugin's default name, and the message's id."""
    wire = one(MessageFormat.ROADRUNNER, b"[1]")
    assert (wire["id"], wire["eventType"], wire["eventTime"]) == ("m-1", "deduced_by_rr", SENT)
    assert one(MessageFormat.ROADRUNNER, b"[1]", message_id="")["id"] == "made-up"


# --- any message ----------------------------------------------------------------------------------

TEXTS = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([*GRID_EVENT, *CLOUD_EVENT, *JOB, "topic", "data_base64"])
BODIES = (
    st.binary(max_size=40)
    | JSON.map(text)
    | st.dictionaries(FIELDS, JSON, max_size=8).map(text)
    | st.dictionaries(FIELDS, JSON, max_size=3).map(lambda some: text(GRID_EVENT | some))
    | st.dictionaries(FIELDS, JSON, max_size=3).map(lambda some: text(JOB | some))
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_data", "traceparent"])
    | TEXTS,
    st.sampled_from(["1.0", TRACE]) | TEXTS | st.binary(max_size=8),
    max_size=6,
)


@given(
    name=st.sampled_from(MessageFormat),
    schema=st.sampled_from([EG, CE]),
    body=BODIES,
    attributes=ATTRIBUTES,
    content_type=st.sampled_from(["", "application/json", "text/plain", "image/png"]) | TEXTS,
    sent_ms=st.integers(-(2**63), 2**63),
    output=st.sampled_from([EG, CE]),
)
def test_any_message_becomes_events_or_is_refused(
    name: MessageFormat,
    schema: Schema,
    body: bytes,
    attributes: dict[str, str | bytes],
    content_type: str,
    sent_ms: int,
    output: Schema,
) -> None:
    """Whatever a queue holds becomes at least one event of the schema, or is refused in one way;
    and whatever became an event goes out again in every format."""
    wanted = target(schema, fields={"subject": "data.title", "eventtime": "data.at"})
    try:
        events = decoded(
            name,
            body,
            wanted,
            attributes=attributes,
            content_type=content_type,
            sent_ms=sent_ms,
        )
    except InvalidEvent:
        return

    assert events
    for event in events:
        for other in MessageFormat:
            delivered = output if schema is EG else CE
            assert isinstance(encoded(other, event, schema, delivered), Outgoing)


# --- a custom schema ------------------------------------------------------------------------------


def test_a_message_of_a_custom_schema() -> None:
    """On a topic of a custom schema a message is the object that its mapping reads, and goes out
    as the object again, as Event Grid's event or as a CloudEvent."""
    mapping = InputMapping(fields={"id": "number", "eventtype": "kind"})
    custom = CustomInput(mapping, lambda: "made-up", lambda: SENT_MS)
    body = b'{"number":  "7", "kind": "Book"}'

    (event,) = decoded(MessageFormat.EVENT, body, dataclasses.replace(target(), custom=custom))

    assert (event.id, event.type) == ("7", "Book")
    delivery = Delivery(event, 1, SENT_MS, SENT_MS)
    sent = {schema: _sent(delivery, schema) for schema in (Schema.CUSTOM, EG, CE)}
    assert sent[Schema.CUSTOM].body == body
    assert json.loads(sent[EG].body)["data"] == json.loads(sent[CE].body)["data"]
    assert json.loads(sent[CE].body)["type"] == "Book"


def _sent(delivery: Delivery, schema: Schema) -> Outgoing:
    origin = Origin(
        input_schema=Schema.CUSTOM,
        output_schema=schema,
        topic_resource=RESOURCE,
        queue="orders",
        now_ms=lambda: SENT_MS,
    )
    return messaging.encoder(MessageFormat.EVENT)(delivery, origin)
