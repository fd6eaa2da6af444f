"""Requests of the official azure-eventgrid client, taken before they reach a socket."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.messaging import CloudEvent
from azure.core.pipeline import PipelineRequest
from azure.core.rest import HttpRequest
from azure.eventgrid import EventGridEvent, EventGridPublisherClient, generate_sas

from eventpost.core.events import Event, Schema
from eventpost.core.subscriptions import Topic
from eventpost.formats import publish, topics

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ENDPOINT = "http://127.0.0.1:7790/topics/orders/api/events"
TOPIC = Topic(id=1, name="orders", key1=KEY, key2="AAAA", created_ms=0)
RESOURCE = topics.resource("orders")
NOW_MS = 1_795_000_000_000


class TakenError(Exception):
    """Carries the request that would have been sent."""


def take(request: PipelineRequest[HttpRequest]) -> None:
    raise TakenError(request.http_request)


def sent(
    credential: AzureKeyCredential | AzureSasCredential, events: object
) -> tuple[bytes, dict[bytes, bytes]]:
    client = EventGridPublisherClient(ENDPOINT, credential)
    with pytest.raises(TakenError) as caught:
        client.send(events, raw_request_hook=take)
    request = caught.value.args[0]
    body = request.data if isinstance(request.data, bytes) else request.data.encode()
    headers = {name.lower().encode(): str(v).encode() for name, v in request.headers.items()}
    return body, headers


def published(schema: Schema, events: object) -> list[Event]:
    body, headers = sent(AzureKeyCredential(KEY), events)
    publish.authorize(TOPIC, headers, b"api-version=2018-01-01", ENDPOINT, NOW_MS)
    return publish.decode_publish(schema, body, headers, RESOURCE)


@pytest.mark.parametrize("data", [{"é": [1, 2.5, None]}, "text", 7, None, ["x"]])
def test_event_grid_events(data: Any) -> None:
    """An EventGridEvent of any data is taken as it is."""
    event = EventGridEvent(subject="s/é", event_type="t", data=data, data_version="2.0")

    [taken] = published(Schema.EVENT_GRID, event)

    wire = json.loads(taken.wire)
    assert (wire["subject"], wire["eventType"], wire["dataVersion"]) == ("s/é", "t", "2.0")
    assert wire.get("data") == data
    assert wire["id"] == str(event.id)


@pytest.mark.parametrize("data", [{"é": [1, 2.5, None]}, "text", 7, None])
def test_cloud_events(data: Any) -> None:
    """A CloudEvent of any data, with extensions, is taken as it is."""
    event = CloudEvent(source="/s", type="t", data=data, extensions={"ext": 5, "other": "é"})

    [taken] = published(Schema.CLOUD_EVENTS, event)

    wire = json.loads(taken.wire)
    assert (wire["source"], wire["ext"], wire["other"]) == ("/s", 5, "é")
    assert wire.get("data") == data


def test_cloud_event_of_bytes() -> None:
    """Bytes travel as base64."""
    [taken] = published(Schema.CLOUD_EVENTS, CloudEvent(source="/s", type="t", data=b"\x00\xff"))

    assert json.loads(taken.wire)["data_base64"] == "AP8="


def test_batches() -> None:
    """A list of events is a batch in order."""
    events = [
        EventGridEvent(subject=str(n), event_type="t", data=n, data_version="") for n in (1, 2)
    ]
    cloud_events: list[CloudEvent[object]] = [
        CloudEvent(source="/s", type="t", subject=str(n)) for n in (1, 2)
    ]

    assert [event.subject for event in published(Schema.EVENT_GRID, events)] == ["1", "2"]
    assert [event.subject for event in published(Schema.CLOUD_EVENTS, cloud_events)] == ["1", "2"]


def test_shared_access_signature() -> None:
    """The client's SAS credential opens the topic."""
    expiry = datetime.fromtimestamp(NOW_MS / 1000, UTC) + timedelta(hours=1)
    token = generate_sas(ENDPOINT, KEY, expiry)
    _, headers = sent(AzureSasCredential(token), EventGridEvent("s", "t", {}, "1"))

    assert b"aeg-sas-key" not in headers
    publish.authorize(TOPIC, headers, b"", ENDPOINT, NOW_MS)
