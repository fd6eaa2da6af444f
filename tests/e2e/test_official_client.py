"""The official azure-eventgrid client publishes to the real server as it does to Azure."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient, generate_sas
from azure.eventgrid.aio import EventGridPublisherClient as AsyncPublisherClient

from eventpost.testing import Grid, Receiver

Credential = AzureKeyCredential | AzureSasCredential
NewCredential = Callable[[Grid], Credential]

CLOUD = "cloudeventschemav1_0"


def endpoint(grid: Grid) -> str:
    """Where the client is told to publish."""
    return grid.client.show_topic("songs").endpoint


def by_key(grid: Grid) -> Credential:
    return AzureKeyCredential(grid.key("songs"))


def by_signature(grid: Grid, valid_for: timedelta = timedelta(hours=1)) -> Credential:
    expiry = datetime.now(UTC) + valid_for
    return AzureSasCredential(generate_sas(endpoint(grid), grid.key("songs"), expiry))


def send(grid: Grid, credential: Credential, events: Any) -> None:
    with EventGridPublisherClient(endpoint(grid), credential) as client:
        client.send(events, retry_total=0)


def send_async(grid: Grid, credential: Credential, events: Any) -> None:
    async def sending() -> None:
        async with AsyncPublisherClient(endpoint(grid), credential) as client:
            await client.send(events, retry_total=0)

    asyncio.run(sending())


def grid_event(subject: str) -> EventGridEvent:
    return EventGridEvent(
        subject=subject, event_type="Song.Requested", data={"é": [1, 2.5]}, data_version="2.0"
    )


def cloud_event(subject: str) -> "CloudEvent[dict[str, str]]":
    return CloudEvent(
        source="/station",
        type="song.requested",
        subject=subject,
        data={"genre": "blues"},
        extensions={"station": "kbl"},
    )


EVENTS: dict[str, Callable[[str], object]] = {"eventgridschema": grid_event, CLOUD: cloud_event}


@pytest.mark.parametrize("sending", [send, send_async])
@pytest.mark.parametrize("credential", [by_key, by_signature])
@pytest.mark.parametrize("schema", EVENTS)
def test_the_client_publishes_unchanged(
    grid: Grid,
    receiver: Receiver,
    schema: str,
    credential: NewCredential,
    sending: Callable[[Grid, Credential, object], None],
) -> None:
    """What the client sends, one event or a list, arrives, in both schemas, with a key or a
    signature, from synchronous and asynchronous programs."""
    grid.topic("songs", input_schema=schema)
    grid.subscribe("songs", receiver, concurrency=1)
    new = EVENTS[schema]

    sending(grid, credential(grid), new("alone"))
    sending(grid, credential(grid), [new("first"), new("second")])

    receiver.wait_for(3)
    assert [event["subject"] for event in receiver.events] == ["alone", "first", "second"]


def test_event_grid_events_arrive_whole(grid: Grid, receiver: Receiver) -> None:
    """Every field of an EventGridEvent arrives."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    event = grid_event("genre/blues")

    send(grid, by_key(grid), event)

    received = receiver.wait_for(1)[0].event
    assert received["id"] == str(event.id)
    assert (received["eventType"], received["dataVersion"]) == ("Song.Requested", "2.0")
    assert received["data"] == {"é": [1, 2.5]}
    assert datetime.fromisoformat(received["eventTime"]) == datetime.fromisoformat(
        str(event.event_time)
    )
    assert EventGridEvent.from_json(receiver.requests[0].body.decode()[1:-1]).subject == (
        "genre/blues"
    )


def test_cloud_events_arrive_whole(grid: Grid, receiver: Receiver) -> None:
    """Every attribute of a CloudEvent arrives, extensions included, for the client to read."""
    grid.topic("songs", input_schema=CLOUD)
    grid.subscribe("songs", receiver)
    event = cloud_event("genre/blues")

    send(grid, by_key(grid), event)

    received: CloudEvent[Any] = CloudEvent.from_dict(receiver.wait_for(1)[0].event)
    assert (received.id, received.source, received.type) == (event.id, event.source, event.type)
    assert (received.subject, received.data, received.time) == (
        event.subject,
        event.data,
        event.time,
    )
    assert received.extensions == event.extensions


def test_bytes_arrive_as_bytes(grid: Grid, receiver: Receiver) -> None:
    """The data of a CloudEvent may be bytes."""
    grid.topic("songs", input_schema=CLOUD)
    grid.subscribe("songs", receiver)

    send(grid, by_key(grid), CloudEvent(source="/station", type="t", data=b"\x00\xff"))

    received: CloudEvent[Any] = CloudEvent.from_dict(receiver.wait_for(1)[0].event)
    assert received.data == b"\x00\xff"


def test_events_of_the_other_schema_are_refused(grid: Grid) -> None:
    """The client is told that the topic takes events of another schema."""
    grid.topic("songs")

    with pytest.raises(HttpResponseError) as refused:
        send(grid, by_key(grid), cloud_event("s"))

    assert refused.value.status_code == 400


@pytest.mark.parametrize("credential", ["another key", "an expired signature"])
def test_a_wrong_credential_is_refused(grid: Grid, receiver: Receiver, credential: str) -> None:
    """The client raises its error for authentication, and nothing is kept."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    wrong: Credential = AzureKeyCredential("AAAA")
    if credential == "an expired signature":
        wrong = by_signature(grid, timedelta(hours=-1))

    with pytest.raises(ClientAuthenticationError) as refused:
        send(grid, wrong, grid_event("s"))

    assert refused.value.status_code == 401
    grid.settle()
    assert grid.books().matched == 0


def test_a_key_is_exchanged_while_the_client_publishes(grid: Grid, receiver: Receiver) -> None:
    """A client with key2 publishes on while key1 is made anew."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    second = AzureKeyCredential(grid.client.list_keys("songs").key2)
    with EventGridPublisherClient(endpoint(grid), second) as client:
        client.send(grid_event("before"))

        grid.client.regenerate_key("songs", "key1")
        client.send(grid_event("after"))

    receiver.wait_for(2)


def test_the_client_waits_out_an_overload(grid: Grid, receiver: Receiver) -> None:
    """The client understands 503 with Retry-After: without retries it raises, nothing is kept."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)

    with grid.refusing(), pytest.raises(HttpResponseError) as refused:
        send(grid, by_key(grid), grid_event("s"))

    assert refused.value.status_code == 503
    send(grid, by_key(grid), grid_event("t"))
    assert receiver.wait_for(1)[0].event["subject"] == "t"
