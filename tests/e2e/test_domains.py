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


def test_a_topic_goes_with_a_subscription_that_expires(grid: Grid, receiver: Receiver) -> None:
    """The last subscription of a topic takes it along when it ends by itself, too."""
    grid.client.create_domain("stations")
    grid.subscribe("stations/radio-1", receiver, expiration_time_utc="2026-01-01T00:10:00Z")
    assert [each.name for each in grid.client.list_domain_topics("stations")] == ["radio-1"]

    grid.clock.advance(601)
    grid.settle()

    assert grid.client.list_domain_topics("stations") == []
    assert grid.client.list_subscriptions() == []


def test_one_topic_that_lags_and_one_that_does_not(grid: Grid, receiver: Receiver) -> None:
    """A subscription that was paused reads what came meanwhile for its own topic, and the books of
    both balance."""
    grid.client.create_domain("stations")
    for topic in ("radio-1", "radio-2"):
        grid.subscribe(f"stations/{topic}", f"{receiver.url}?to={topic}", name=topic)
    grid.client.pause_subscription("radio-1")
    events = [{"id": str(number), "topic": f"radio-{1 + number % 2}"} for number in range(40)]
    grid.publish("stations", *events)
    grid.settle()
    assert {named(each.event) for each in receiver.requests} == {"radio-2"}

    grid.client.resume_subscription("radio-1")
    grid.settle()

    came = [each.event["id"] for each in receiver.requests if each.path.endswith("to=radio-1")]
    assert sorted(came, key=int) == [str(number) for number in range(0, 40, 2)]
    assert grid.books("radio-1").delivered == grid.books("radio-2").delivered == 20
    grid.check_books()
