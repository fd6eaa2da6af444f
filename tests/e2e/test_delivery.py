"""From a publish to a webhook, over real sockets: what a handler gets."""

import base64
import json
from typing import Any

import pytest
from standardwebhooks import Webhook

from eventpost.testing import Grid, Received, Receiver
from eventpost.testing.receiver import NewReceiver

CLOUD = "cloudeventschemav1_0"
DATA = b'{"n": 1.50,  "e":1E5, "text":"\\u00e9 \\/ \xc3\xa9", "deep":[{ "a" :null}]}'
"""JSON whose bytes no encoder would write: spaces, escapes, numbers as they were given."""
EVENT = (
    b'{"id":"1","subject":"s/1","eventType":"T","eventTime":"2026-01-01T00:00:00Z",'
    b'"dataVersion":"2.0","data":' + DATA + b"}"
)
TOPIC_ID = "/subscriptions/local/resourceGroups/local/providers/Microsoft.EventGrid/topics/songs"


def test_what_is_published_is_delivered_once(grid: Grid, receiver: Receiver) -> None:
    """Each event of each request arrives, in no request twice, and the books say so."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)

    ids = grid.publish("songs") + grid.publish("songs", count=3)

    receiver.wait_for(4)
    grid.settle()
    assert sorted(receiver.ids) == sorted(ids)
    books = grid.books()
    assert (books.matched, books.delivered, books.pending, books.lag) == (4, 4, 0, 0)


def test_event_grid_data_goes_out_byte_for_byte(grid: Grid, receiver: Receiver) -> None:
    """The data of an Event Grid event arrives with the bytes it was published with."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)

    assert grid.post("songs", b"[" + EVENT + b"]").status_code == 200

    [request] = receiver.wait_for(1)
    assert b'"data":' + DATA in request.body
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.body[:1] + request.body[-1:] == b"[]"
    assert (request.event["topic"], request.event["metadataVersion"]) == (TOPIC_ID, "1")


def test_a_delivery_says_what_it_is(grid: Grid, receiver: Receiver) -> None:
    """A delivery carries Event Grid's headers."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, name="blues")

    grid.post("songs", b"[" + EVENT + b"]")

    [request] = receiver.wait_for(1)
    expected = {
        "aeg-event-type": "Notification",
        "aeg-subscription-name": "BLUES",
        "aeg-delivery-count": "0",
        "aeg-data-version": "2.0",
        "aeg-metadata-version": "1",
        "host": f"127.0.0.1:{receiver.port}",
    }
    assert expected.items() <= request.headers.items()
    assert request.headers["user-agent"].startswith("eventpost/")
    assert (request.method, request.path) == ("POST", "/hook")


def test_event_grid_events_are_delivered_as_cloud_events(grid: Grid, receiver: Receiver) -> None:
    """A subscription of an Event Grid topic may take CloudEvents; the data keeps its bytes."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, event_delivery_schema=CLOUD)

    grid.post("songs", b"[" + EVENT + b"]")

    [request] = receiver.wait_for(1)
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert b'"data":' + DATA in request.body
    event = request.event
    assert (event["specversion"], event["id"], event["type"]) == ("1.0", "1", "T")
    assert (event["source"], event["subject"]) == (TOPIC_ID, "s/1")
    assert event["dataschema"] == "#2.0"


CLOUD_EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "T", "ext": "x"}


@pytest.mark.parametrize(
    ("content_type", "body", "headers"),
    [
        ("application/cloudevents+json", json.dumps({**CLOUD_EVENT, "data": {"a": 1}}), {}),
        ("application/cloudevents-batch+json", json.dumps([{**CLOUD_EVENT, "data": {"a": 1}}]), {}),
        (
            "application/json",
            '{"a": 1}',
            {f"ce-{key}": value for key, value in CLOUD_EVENT.items()},
        ),
    ],
    ids=["structured", "batch", "binary"],
)
def test_cloud_events_in_every_mode(
    grid: Grid, receiver: Receiver, content_type: str, body: str, headers: dict[str, str]
) -> None:
    """A CloudEvent arrives the same, extensions included, however it was published."""
    grid.topic("songs", input_schema=CLOUD)
    grid.subscribe("songs", receiver)

    answer = grid.post("songs", body, {"Content-Type": content_type, **headers})

    assert answer.status_code == 200
    [request] = receiver.wait_for(1)
    assert CLOUD_EVENT.items() <= request.event.items()
    assert request.event["data"] == {"a": 1}
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert request.headers["webhook-request-origin"] == "127.0.0.1"


def test_binary_data_of_a_cloud_event(grid: Grid, receiver: Receiver) -> None:
    """Bytes that are no JSON arrive as base64."""
    grid.topic("songs", input_schema=CLOUD)
    grid.subscribe("songs", receiver)
    headers = {f"ce-{key}": value for key, value in CLOUD_EVENT.items()}

    answer = grid.post("songs", b"\x00\xff", {"Content-Type": "image/png", **headers})

    assert answer.status_code == 200
    [request] = receiver.wait_for(1)
    assert base64.b64decode(request.event["data_base64"]) == b"\x00\xff"


def test_only_what_matches_is_delivered(grid: Grid, receiver: Receiver) -> None:
    """A subscription gets the events that its whole filter wants; the rest is counted."""
    grid.topic("songs")
    grid.subscribe(
        "songs",
        receiver,
        filter={
            "includedEventTypes": ["Requested"],
            "subjectBeginsWith": "genre/",
            "advancedFilters": [
                {"key": "data.year", "operatorType": "NumberLessThan", "value": 1960}
            ],
        },
    )
    wanted = {"eventType": "Requested", "subject": "GENRE/blues", "data": {"year": 1939}}

    grid.publish(
        "songs",
        {**wanted, "id": "wanted"},
        {**wanted, "eventType": "Played"},
        {**wanted, "subject": "label/blues"},
        {**wanted, "data": {"year": 1960}},
        {**wanted, "data": {}},
    )

    receiver.wait_for(1)
    grid.settle()
    assert receiver.ids == ["wanted"]
    assert grid.books().matched == 1
    [topic] = [each for each in grid.client.show_report().topics if each.topic == "songs"]
    assert (topic.published, topic.unmatched) == (5, 4)


def test_every_subscription_gets_its_copy(grid: Grid, new_receiver: NewReceiver) -> None:
    """One event goes to every subscription that wants it, and to no other."""
    grid.topic("songs")
    takers = [new_receiver() for _ in range(5)]
    for index, taker in enumerate(takers):
        grid.subscribe("songs", taker, name=f"taker{index}")
    stranger = new_receiver()
    grid.subscribe("songs", stranger, name="stranger", filter={"includedEventTypes": ["Other"]})

    [event_id] = grid.publish("songs")

    for taker in takers:
        taker.wait_for(1)
        assert taker.ids == [event_id]
    grid.settle()
    assert stranger.requests == []


def test_topics_are_apart(grid: Grid, new_receiver: NewReceiver) -> None:
    """An event goes to the subscriptions of its own topic, also where names are the same."""
    receivers = {name: new_receiver() for name in ("songs", "news")}
    for name, taker in receivers.items():
        grid.topic(name)
        grid.subscribe(name, taker)

    ids = {name: grid.publish(name) for name in receivers}

    grid.settle()
    for name, taker in receivers.items():
        assert taker.ids == ids[name]


def test_a_batch_holds_what_waits(grid: Grid, receiver: Receiver) -> None:
    """A batched subscription gets what waits in one request, up to its bound, without delay."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, max_events_per_batch=4, concurrency=1)

    ids = grid.publish("songs", count=10)

    receiver.wait_for_events(10)
    grid.settle()
    assert [len(request.events) for request in receiver.requests] == [4, 4, 2]
    assert receiver.ids == ids
    assert grid.books().delivered == 10


@pytest.mark.parametrize(("kilobytes", "expected"), [(1, [1, 1, 1, 1]), (2, [2, 2])])
def test_a_batch_keeps_to_its_size(
    grid: Grid, receiver: Receiver, kilobytes: int, expected: list[int]
) -> None:
    """A batch ends before the preferred size; an event above it goes alone."""
    grid.topic("songs")
    grid.subscribe(
        "songs",
        receiver,
        max_events_per_batch=10,
        preferred_batch_size_in_kilobytes=kilobytes,
        concurrency=1,
    )

    grid.publish("songs", *[{"data": "x" * 700}] * 4)

    receiver.wait_for_events(4)
    grid.settle()
    assert [len(request.events) for request in receiver.requests] == expected


def test_batched_cloud_events(grid: Grid, receiver: Receiver) -> None:
    """A batched subscription gets CloudEvents as a batch, one alone too."""
    grid.topic("songs", input_schema=CLOUD)
    grid.subscribe("songs", receiver, max_events_per_batch=3)

    grid.publish("songs")

    [request] = receiver.wait_for(1)
    assert request.headers["content-type"].startswith("application/cloudevents-batch+json")
    assert len(json.loads(request.body)) == 1


def test_delivery_properties(grid: Grid, receiver: Receiver) -> None:
    """Static properties are sent as they are, dynamic ones from the event; a secret is masked
    wherever it is shown."""
    grid.topic("songs")
    view = grid.subscribe(
        "songs",
        receiver,
        delivery_attribute_mappings=[
            {"name": "X-Team", "type": "static", "value": "radio"},
            {"name": "X-Secret", "type": "static", "value": "hunter2", "isSecret": True},
            {"name": "X-Genre", "type": "dynamic", "sourceField": "data.genre"},
            {"name": "X-Missing", "type": "dynamic", "sourceField": "data.nothing"},
        ],
    )

    grid.publish("songs", {"data": {"genre": "blues é"}})

    [request] = receiver.wait_for(1)
    assert request.headers["x-team"] == "radio"
    assert request.headers["x-secret"] == "hunter2"
    assert request.headers["x-genre"] == "blues é"
    assert "x-missing" not in request.headers
    assert receiver.handshakes[0].headers["x-secret"] == "hunter2"
    assert "hunter2" not in repr(view)
    assert "hunter2" not in repr(grid.client.show_subscription("handler"))


def test_signatures(grid: Grid, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery is signed with each secret, so that a receiver may verify it while the secret is
    being rotated; a body that was changed is refused."""
    old, new = (base64.b64encode(bytes([n]) * 24).decode() for n in (1, 2))
    monkeypatch.setenv("SONGS_OLD", f"whsec_{old}")
    monkeypatch.setenv("SONGS_NEW", f"whsec_{new}")
    grid.topic("songs")
    grid.subscribe("songs", receiver, signing_secrets=["env:SONGS_NEW", "env:SONGS_OLD"])

    grid.publish("songs")

    [request] = receiver.wait_for(1)
    for secret in (old, new):
        signed = _verified(Webhook(secret), request, request.body)
        assert signed == request.events
    with pytest.raises(Exception, match="No matching signature"):
        _verified(Webhook(old), request, request.body + b" ")


def _verified(webhook: Webhook, request: Received, body: bytes) -> Any:
    """The library looks at the wall clock, the grid's stands still: hold only what is signed."""
    webhook._Webhook__verify_timestamp = lambda text: _moment(int(text))  # type: ignore[attr-defined]
    return webhook.verify(body, dict(request.headers))


def _moment(seconds: int) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


def test_traces_travel_with_events(grid: Grid, receiver: Receiver) -> None:
    """The trace of a publish goes with its events; events without one carry none."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    trace = {"traceparent": parent, "tracestate": "congo=t61rcWkgMzE"}

    grid.post("songs", b"[" + EVENT + b"]", trace)
    grid.publish("songs")

    traced, untraced = receiver.wait_for(2)
    assert trace.items() <= traced.headers.items()
    assert not {"traceparent", "tracestate"} & untraced.headers.keys()


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204])
def test_what_counts_as_delivered(grid: Grid, receiver: Receiver, status: int) -> None:
    """Exactly these statuses mean that the handler has the event."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(status)

    grid.publish("songs")

    receiver.wait_for(1)
    grid.settle()
    assert grid.books().delivered == 1


@pytest.mark.parametrize("status", [205, 206, 301, 302, 404, 418, 500])
def test_what_counts_as_failed(grid: Grid, receiver: Receiver, status: int) -> None:
    """Every other status is a failure that is tried again; a redirect is not followed."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(status)

    grid.publish("songs")

    receiver.wait_for(1)
    grid.settle()
    books = grid.books()
    assert (books.delivered, books.ladder, books.pending) == (0, 1, 1)
    assert len(receiver.requests) == 1
