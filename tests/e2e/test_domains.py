"""The official azure-eventgrid client publishes to a domain as it does to Azure."""

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


def endpoint(grid: Grid) -> str:
    return grid.client.show_domain("stations").endpoint


def by_key(grid: Grid) -> Credential:
    return AzureKeyCredential(grid.client.list_domain_keys("stations").key2)


def by_signature(grid: Grid) -> Credential:
    key = grid.client.list_domain_keys("stations").key1
    return AzureSasCredential(
        generate_sas(endpoint(grid), key, datetime.now(UTC) + timedelta(hours=1))
    )


def grid_event(topic: str | None) -> EventGridEvent:
    return EventGridEvent(
        topic=topic,
        subject="genre/blues",
        event_type="Song.Requested",
        data={"é": [1, 2.5]},
        data_version="2.0",
    )


def cloud_event(topic: str | None) -> "CloudEvent[dict[str, str]]":
    return CloudEvent(source=topic or "", type="song.requested", data={"genre": "blues"})


EVENTS: dict[str, Callable[[str | None], object]] = {
    "eventgridschema": grid_event,
    "cloudeventschemav1_0": cloud_event,
}


def send(grid: Grid, credential: Credential, events: Any) -> None:
    with EventGridPublisherClient(endpoint(grid), credential) as client:
        client.send(events, retry_total=0)


def send_async(grid: Grid, credential: Credential, events: Any) -> None:
    async def sending() -> None:
        async with AsyncPublisherClient(endpoint(grid), credential) as client:
            await client.send(events, retry_total=0)

    asyncio.run(sending())


@pytest.mark.parametrize("sending", [send, send_async])
@pytest.mark.parametrize("credential", [by_key, by_signature])
@pytest.mark.parametrize("schema", EVENTS)
def test_one_request_for_many_topics(
    grid: Grid,
    receiver: Receiver,
    schema: str,
    credential: Callable[[Grid], Credential],
    sending: Callable[[Grid, Credential, Any], None],
) -> None:
    """Of one request, a subscription to a topic gets its event, one to the domain all of them."""
    grid.client.create_domain("stations", input_schema=schema)
    for topic in ("stations/radio-1", "stations/radio-2", "stations"):
        url = f"{receiver.url}?to={topic}"
        grid.client.create_subscription({"name": "same", "topic": topic, "endpoint": url})

    sending(grid, credential(grid), [EVENTS[schema](name) for name in ("radio-1", "radio-2")])

    receiver.wait_for(4)
    came = sorted((each.path.partition("to=")[2], named(each.event)) for each in receiver.requests)
    assert came == [
        ("stations", "radio-1"),
        ("stations", "radio-2"),
        ("stations/radio-1", "radio-1"),
        ("stations/radio-2", "radio-2"),
    ]


def named(event: dict[str, Any]) -> str:
    text: str = event.get("topic") or event["source"]
    return text.rpartition("/")[2]


def test_an_event_without_a_topic(grid: Grid, receiver: Receiver) -> None:
    """The client raises what Event Grid answers, and nothing of the request is kept."""
    grid.client.create_domain("stations")
    grid.client.create_subscription({"name": "all", "topic": "stations", "endpoint": receiver.url})

    with pytest.raises(HttpResponseError, match="requires 'topic'") as refused:
        send(grid, by_key(grid), [grid_event("radio-1"), grid_event(None)])
    assert refused.value.status_code == 400
    with pytest.raises(ClientAuthenticationError):
        send(grid, AzureKeyCredential("bm90IGl0"), grid_event("radio-1"))
    send(grid, by_key(grid), grid_event("radio-2"))
    (only,) = receiver.wait_for(1)
    assert named(only.event) == "radio-2"
