"""The official azure-eventgrid client pulls from the real server as it does from Azure: over TLS
with the development authority, with the topic's key, unchanged."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridConsumerClient, EventGridPublisherClient
from azure.eventgrid.aio import EventGridConsumerClient as AsyncConsumerClient
from azure.eventgrid.aio import EventGridPublisherClient as AsyncPublisherClient
from azure.eventgrid.models import ReleaseDelay

from eventpost.client import Client
from eventpost.config.local import AUTHORITY_FILE
from eventpost.config.settings import Settings
from eventpost.core.limits import Limits
from tests.documentation import ROOT, blocks
from tests.server.running import Served, served

pytestmark = pytest.mark.slow

TOPIC, NAME = "songs", "blues"


class Station:
    """A server over TLS, and how the clients are made."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.authority = str(server.data / AUTHORITY_FILE)

    def publisher(self, kind: Callable[..., Any] = EventGridPublisherClient) -> Any:
        return kind(
            self.server.url,
            AzureKeyCredential(self.server.key(TOPIC)),
            namespace_topic=TOPIC,
            connection_verify=self.authority,
        )

    def consumer(
        self,
        kind: Callable[..., Any] = EventGridConsumerClient,
        *,
        key: str = "",
        topic: str = TOPIC,
        name: str = NAME,
    ) -> Any:
        return kind(
            self.server.url,
            AzureKeyCredential(key or self.server.key(TOPIC)),
            namespace_topic=topic,
            subscription=name,
            connection_verify=self.authority,
        )


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    with served(tmp_path / "data", tls_dev=True) as server:
        with Client(data=server.data) as client:
            client.create_topic(TOPIC, input_schema="cloudeventschemav1_0")
            client.create_subscription({"name": NAME, "topic": TOPIC, "endpointType": "pull"})
        yield Station(server)


def song(subject: str, **more: Any) -> "CloudEvent[dict[str, Any]]":
    return CloudEvent(
        source="/station",
        type="song.requested",
        subject=subject,
        data={"é": [1, 2.5], "nested": {"a": None}},
        extensions={"station": "kbl"},
        **more,
    )


def test_a_whole_round(station: Station) -> None:
    """Send, receive, renew, release, receive again, acknowledge and reject: each says what came
    of each token, and the events are what was sent."""
    sent = [song(f"genre/{number}") for number in range(4)]
    with station.publisher() as publisher, station.consumer() as consumer:
        publisher.send(sent[0])
        publisher.send(sent[1:])
        received = consumer.receive(max_events=10, max_wait_time=10)
        tokens = [each.broker_properties.lock_token for each in received]

        renewed = consumer.renew_locks(lock_tokens=tokens)
        released = consumer.release(lock_tokens=tokens[:1])
        delayed = consumer.release(lock_tokens=tokens[1:2], release_delay=ReleaseDelay.ONE_HOUR)
        acknowledged = consumer.acknowledge(lock_tokens=[*tokens[2:3], "nonsense"])
        rejected = consumer.reject(lock_tokens=[*tokens[3:], tokens[2]])
        again = consumer.receive(max_events=10, max_wait_time=10)

    assert [each.event.subject for each in received] == [each.subject for each in sent]
    assert [each.event.id for each in received] == [each.id for each in sent]
    assert received[0].event.data == sent[0].data
    assert received[0].event.extensions == {"station": "kbl"}
    assert renewed.succeeded_lock_tokens == tokens
    assert released.succeeded_lock_tokens == tokens[:1]
    assert delayed.succeeded_lock_tokens == tokens[1:2]
    assert acknowledged.succeeded_lock_tokens == tokens[2:3]
    assert [each.error.code for each in acknowledged.failed_lock_tokens] == ["BadToken"]
    assert rejected.succeeded_lock_tokens == tokens[3:]
    assert [each.error.code for each in rejected.failed_lock_tokens] == ["TokenLost"]
    assert [each.event.id for each in again] == [sent[0].id]
    assert again[0].broker_properties.delivery_count == 2


def test_the_same_from_asynchronous_programs(station: Station) -> None:
    """The asynchronous clients do the same, and a receive waits without blocking the program."""

    async def scenario() -> None:
        publisher = station.publisher(AsyncPublisherClient)
        consumer = station.consumer(AsyncConsumerClient)
        async with publisher, consumer:
            waiting = asyncio.create_task(consumer.receive(max_events=5, max_wait_time=60))
            await asyncio.sleep(0)
            await publisher.send([song("one"), song("two")])
            received = await waiting
            while len(received) < 2:
                received += await consumer.receive(max_events=5, max_wait_time=10)
            tokens = [each.broker_properties.lock_token for each in received]
            assert [each.event.subject for each in received] == ["one", "two"]

            renewed = await consumer.renew_locks(lock_tokens=tokens)
            released = await consumer.release(lock_tokens=tokens[:1])
            rejected = await consumer.reject(lock_tokens=tokens[1:])
            (again,) = await consumer.receive(max_events=5, max_wait_time=10)
            token = again.broker_properties.lock_token
            acknowledged = await consumer.acknowledge(lock_tokens=[token])

        assert renewed.succeeded_lock_tokens == tokens
        assert released.succeeded_lock_tokens == tokens[:1]
        assert rejected.succeeded_lock_tokens == tokens[1:]
        assert acknowledged.succeeded_lock_tokens == [token]
        assert again.broker_properties.delivery_count == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "data",
    [b"\x00\xff", "text", 5, [1, {"a": 2}], None],
    ids=["bytes", "text", "number", "list", "none"],
)
def test_data_of_every_kind(station: Station, data: Any) -> None:
    """Whatever the client sends as data, the client receives the same."""
    with station.publisher() as publisher, station.consumer() as consumer:
        publisher.send(CloudEvent(source="/s", type="t", data=data))
        (received,) = consumer.receive(max_wait_time=10)

    assert received.event.data == data


def test_nothing_there(station: Station) -> None:
    """A receive that finds nothing returns an empty list."""
    with station.consumer() as consumer:
        assert consumer.receive(max_events=10, max_wait_time=0) == []


def test_a_wrong_key(station: Station) -> None:
    """A wrong key is the client's authentication error."""
    with (
        station.consumer(key="bm90aGluZw==") as consumer,
        pytest.raises(ClientAuthenticationError),
    ):
        consumer.receive(max_wait_time=0)


@pytest.mark.parametrize("where", [{"topic": "nosuch"}, {"name": "nosuch"}])
def test_what_is_not_there(station: Station, where: dict[str, Any]) -> None:
    """An unknown topic or subscription is the client's not-found error."""
    with station.consumer(**where) as consumer, pytest.raises(ResourceNotFoundError):
        consumer.receive(max_wait_time=0)


@pytest.mark.parametrize("given", [{"max_events": 101}, {"max_events": 0}, {"max_wait_time": 121}])
def test_out_of_bounds(station: Station, given: dict[str, int]) -> None:
    """What is out of bounds is an error that names it, and is not tried again."""
    with station.consumer() as consumer, pytest.raises(HttpResponseError, match="It must be"):
        consumer.receive(**given)


def test_other_forms_that_the_client_takes(station: Station) -> None:
    """Dictionaries are sent as they are; an extension attribute may be a number."""
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/s",
        "type": "t",
        "data": {"a": 1},
        "priority": 7,
    }
    with station.publisher() as publisher, station.consumer() as consumer:
        publisher.send([event])
        (received,) = consumer.receive(max_wait_time=10)

    assert received.event.extensions == {"priority": 7}


def test_the_documented_program(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    """What the page on pull delivery shows runs as it stands."""
    with Client(data=station.server.data) as client:
        client.create_topic("song-requests", input_schema="cloudeventschemav1_0")
        client.create_subscription(
            {"name": "blues", "topic": "song-requests", "endpointType": "pull"}
        )
    (program,) = (each for each in blocks(ROOT / "docs/pull.md") if each.language == "python")
    names = {"endpoint": station.server.url, "key": station.server.key("song-requests")}

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SSL_CERT_FILE", station.authority)
        patched.setenv("REQUESTS_CA_BUNDLE", station.authority)
        exec(compile(program.text, str(program), "exec"), names)

    assert capsys.readouterr().out == "{'song': 'Backwater Blues'}\n"
    with Client(data=station.server.data) as client:
        books = client.show_subscription("blues", topic="song-requests").books
    assert books is not None
    assert (books.delivered, books.pending) == (1, 0)
    for each in ("publisher", "consumer"):
        names[each].close()  # type: ignore[attr-defined]  # clients


def test_why_an_event_came_again(tmp_path: Path) -> None:
    """What the client lets happen is told by its finding: a lock that ran out, a release, a
    reject."""
    settings = Settings(limits=Limits(receive_lock_s_min=0.1))
    with served(tmp_path / "data", settings, tls_dev=True) as server:
        station = Station(server)
        with Client(data=server.data) as client:
            client.create_topic(TOPIC, input_schema="cloudeventschemav1_0")
            declared = {"name": NAME, "topic": TOPIC, "endpointType": "pull"}
            client.create_subscription(declared | {"receiveLockDurationInSeconds": 1})
            with station.publisher() as publisher, station.consumer() as consumer:
                publisher.send(song("one"))
                consumer.receive(max_wait_time=10)
                (again,) = consumer.receive(max_wait_time=10)
                consumer.release(lock_tokens=[again.broker_properties.lock_token])
                (again,) = consumer.receive(max_wait_time=10)
                consumer.reject(lock_tokens=[again.broker_properties.lock_token])
            failures = client.show_subscription(NAME, topic=TOPIC).last_failures
            (letter,) = client.list_dead_letters()

    assert [each.finding for each in failures] == ["EP3052", "EP3051", "EP3050"]
    assert (letter.finding, letter.delivery_attempts) == ("EP3052", 3)
