"""The Python client against a real server: what it sends, what it gives back, what it raises."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventpost import AsyncClient, Client
from eventpost.client.discovery import find
from eventpost.client.operations import PAGE
from eventpost.config import local
from eventpost.core.errors import (
    Conflict,
    EventpostError,
    HandshakeFailed,
    InvalidEvent,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServerUnreachable,
    Unauthorized,
)
from eventpost.core.events import Event
from eventpost.registry.declarations import SubscriptionDeclaration
from eventpost.server import api
from tests.server.fake import TOKEN, FakeApp, dead_letter
from tests.server.running import Served, served

EVENT = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z"}


@pytest.fixture
def app() -> FakeApp:
    return FakeApp()


@pytest.fixture
def server(app: FakeApp) -> Iterator[Served]:
    with served(lambda: app) as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    with Client(server.url, token=TOKEN) as made:
        made.create_topic("songs")
        made.create_subscription(SubscriptionDeclaration(name="blues", topic="songs", endpoint=URL))
        yield made


URL = "https://station.example/api"

# --- operations ---------------------------------------------------------------------------------


def test_every_operation_has_its_method() -> None:
    """What the API can do, both clients can, under the API's names."""
    streamed = {"replay_dead_letters": "replay", "purge_dead_letters": "purge"}
    for operation in api.operations():
        name = streamed.get(operation.name, operation.name)

        assert hasattr(Client, name)
        assert getattr(AsyncClient, name).__doc__


def test_topics(client: Client) -> None:
    """Topics are listed, shown and deleted; their keys are values of their own."""
    assert [topic.name for topic in client.list_topics()] == ["eventpost.deadletters", "songs"]
    assert client.show_topic("songs").endpoint.endswith("/topics/songs/api/events")
    before = client.list_keys("songs")
    after = client.regenerate_key("songs", "key2")
    assert (after.key1, after.key2 != before.key2) == (before.key1, True)

    client.delete_topic("songs")

    with pytest.raises(NotFound, match="songs"):
        client.show_topic("songs")


def test_subscriptions(client: Client) -> None:
    """A subscription is declared, changed, held, moved, asked about and deleted."""
    assert client.update_subscription("blues", {"concurrency": 3}).concurrency == 3
    declared = {"name": "blues", "endpoint": URL, "topic": "songs"}
    assert client.replace_subscription("blues", declared, topic="songs").concurrency == 64
    assert client.pause_subscription("blues").is_paused
    assert not client.resume_subscription("blues").is_paused
    assert client.rewind_subscription("blues", 5) == 5
    assert not client.test_subscription("blues", EVENT).is_match
    assert client.show_full_url("blues") == URL
    books = client.show_subscription("blues").books
    assert books is not None
    assert books.matched == 9
    assert [each.name for each in client.list_subscriptions(topic="songs")] == ["blues"]

    client.delete_subscription("blues")

    assert client.list_subscriptions() == []


def test_a_shown_subscription_can_be_put_back(client: Client) -> None:
    """What the client gives as a subscription declares it as it is."""
    shown = client.show_subscription("blues")

    kept = client.replace_subscription("blues", shown)

    assert kept.endpoint == URL


def test_publishing(client: Client, app: FakeApp) -> None:
    """Events go the way of every publisher with a key, else through the management API."""
    key = client.list_keys("songs").key1

    assert client.publish_events("songs", [EVENT, EVENT], key=key) == 2
    assert client.publish_events("songs", EVENT, key=key) == 1
    assert client.publish_events("songs", [EVENT]) == 1
    assert len(app.grid.published) == 3


def test_cloud_events_are_published_as_such(client: Client, app: FakeApp) -> None:
    """One CloudEvent or several get the content type that their topic demands."""
    client.create_topic("clouds", input_schema="cloudeventschemav1_0")
    key = client.list_keys("clouds").key1
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "T"}

    assert client.publish_events("clouds", event, key=key) == 1
    assert client.publish_events("clouds", [event, event], key=key) == 2
    assert len(app.grid.published) == 3


def test_dead_letters_are_read_page_by_page(client: Client, app: FakeApp) -> None:
    """The iterator goes over all pages; the list is one."""
    app.letters = {number: dead_letter(number) for number in range(1, PAGE + 3)}

    assert len(list(client.dead_letters())) == PAGE + 2
    assert len(client.list_dead_letters(limit=7)) == 7
    assert client.count_dead_letters(subscription="blues", replayed=False) == PAGE + 2
    assert bytes(client.show_dead_letter("5").event) == b'{"id":"5"}'
    assert bytes(client.list_dead_letters(limit=1)[0].event) == b"null"


def test_replay_and_purge_tell_how_far_they_are(client: Client, app: FakeApp) -> None:
    """Progress is iterated; the last one is finished."""
    app.letters = {number: dead_letter(number) for number in (1, 2)}

    replayed = list(client.replay(rate="50/s", subscription="blues"))
    purged = list(client.purge())

    assert [each.done for each in replayed] == [1, 2, 2]
    assert replayed[-1].is_finished
    assert purged[-1].total == 2
    assert [each.total for each in client.replay(dry_run=True)] == [2]


def test_a_stream_that_fails_raises(client: Client, app: FakeApp) -> None:
    """An error in the middle of a stream is raised after what came before it."""
    app.letters = {1: dead_letter(1)}
    app.error = Overloaded("EP3003", "The store failed.")
    progress = client.purge()

    assert next(progress).done == 1
    with pytest.raises(EventpostError, match="The store failed"):
        list(progress)


def test_tail(client: Client, app: FakeApp) -> None:
    """Events are iterated as they come."""
    app.tailed = [(4, 1_000, Event("1", "T", "s", b'{"id":"1"}'))]

    (tailed,) = client.tail_topic("songs")

    assert (tailed.position, bytes(tailed.event)) == (4, b'{"id":"1"}')


def test_the_server(client: Client) -> None:
    """Store and server answer as values."""
    assert client.show_usage().event_count == 9
    assert not client.verify_store().is_intact
    assert client.backup_store("/b").bytes == 123
    assert client.show_health().status == "ok"
    assert client.show_status().topic_count == 2
    assert client.show_report().subscriptions[0].subscription == "blues"
    assert client.show_config()[0].name == "server.data"
    assert client.trace_event("a/b")[0].event_id == "a/b"


def test_the_asynchronous_client_does_the_same(server: Served, app: FakeApp) -> None:
    """Calls are awaited, streams and pages iterated asynchronously."""
    app.letters = {number: dead_letter(number) for number in range(1, PAGE + 3)}

    async def everything() -> None:
        async with AsyncClient(server.url, token=TOKEN) as client:
            topic = await client.create_topic("songs")
            assert topic.name == "songs"
            assert len([each async for each in client.dead_letters()]) == PAGE + 2
            progress = [each async for each in client.purge()]
            assert progress[-1].is_finished
            with pytest.raises(Conflict):
                await client.create_topic("songs")
            with pytest.raises(NotFound):
                _ = [each async for each in client.tail_topic("albums")]

    asyncio.run(everything())


# --- errors -------------------------------------------------------------------------------------

FAILURES: list[tuple[type[EventpostError], Callable[[Client], object]]] = [
    (NotFound, lambda client: client.show_topic("albums")),
    (Conflict, lambda client: client.create_topic("songs")),
    (InvalidRequest, lambda client: client.create_topic("a b")),
    (InvalidRequest, lambda client: client.list_dead_letters(limit=0)),
    (
        HandshakeFailed,
        lambda client: client.create_subscription(
            {"name": "jazz", "topic": "songs", "endpoint": "https://refusing.example/"}
        ),
    ),
    (InvalidEvent, lambda client: client.publish_events("songs", [{}], key="a2V5MQ==")),
    (InvalidEvent, lambda client: client.publish_events("songs", b"{", key="a2V5MQ==")),
    (Unauthorized, lambda client: client.publish_events("songs", [EVENT], key="eA==")),
    (NotFound, lambda client: client.publish_events("albums", [EVENT], key="eA==")),
    (NotFound, lambda client: list(client.tail_topic("albums"))),
]


@pytest.mark.parametrize(("kind", "fail"), FAILURES)
def test_errors_are_what_the_server_raised(
    client: Client, kind: type[EventpostError], fail: Callable[[Client], object]
) -> None:
    """A problem document or an Event Grid error is raised as the error it tells of."""
    with pytest.raises(kind) as raised:
        fail(client)

    assert type(raised.value) is kind
    assert raised.value.code
    assert raised.value.what


def test_a_fix_travels(client: Client) -> None:
    """What to do about an error comes with it."""
    with pytest.raises(HandshakeFailed) as raised:
        client.create_subscription(
            {"name": "jazz", "topic": "songs", "endpoint": "https://refusing.example/"}
        )

    assert (raised.value.code, raised.value.fix) == ("EP2601", "Answer with the code.")


def test_overload_says_when_to_come_back(client: Client, app: FakeApp) -> None:
    """Retry-After of both kinds of answers is kept."""
    app.grid.failure = Overloaded("EP3004", "Behind.", retry_after_s=7)
    with pytest.raises(Overloaded) as published:
        client.publish_events("songs", [EVENT], key="a2V5MQ==")
    app.error = Overloaded("EP3003", "Failed.", retry_after_s=2)
    with pytest.raises(Overloaded) as listed:
        client.list_topics()

    assert (published.value.retry_after_s, listed.value.retry_after_s) == (7, 2)


def test_the_token_decides(server: Served) -> None:
    """Without the admin token nothing is done."""
    with Client(server.url, token="wrong") as client, pytest.raises(Unauthorized) as raised:
        client.list_topics()

    assert raised.value.code == "EP1020"


def test_no_server() -> None:
    """A server that cannot be reached is an error of its own, with what to do."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with Client(url, token="x") as client, pytest.raises(ServerUnreachable) as raised:
            client.list_topics()

    assert url in str(raised.value)
    assert "eventpost serve" in raised.value.fix


@pytest.mark.parametrize(
    ("status", "body"), [(502, b"<html>Bad Gateway</html>"), (200, b"hello"), (404, b"\xff")]
)
def test_an_answer_of_something_else(status: int, body: bytes) -> None:
    """An answer that is not eventpost's is said to be so, with what it was."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body))
    client = Client("http://proxy.example", token="x", transport=transport)

    with client, pytest.raises(EventpostError) as raised:
        client.list_topics()

    assert raised.value.code == "UnexpectedAnswer"
    assert str(status) in raised.value.what


# --- where the server is --------------------------------------------------------------------------


def data(tmp_path: Path) -> Path:
    local.write_address(tmp_path, "http://127.0.0.1:4711")
    local.write_private(tmp_path / local.TOKEN_FILE, "from-directory")
    return tmp_path


def found(**given: Any) -> tuple[str, str | None]:
    place = find(
        given.get("url"),
        given.get("token"),
        given.get("data"),
        None,
        given.get("environment", {}),
    )
    return place.url, place.token


def test_arguments_come_first(tmp_path: Path) -> None:
    """Arguments before the environment, the environment before the data directory."""
    environment = {"EVENTPOST_URL": "http://[::1]:1/", "EVENTPOST_TOKEN": "from-environment"}
    directory = data(tmp_path)

    assert found(data=directory) == ("http://127.0.0.1:4711", "from-directory")
    assert found(data=directory, environment=environment) == ("http://[::1]:1", "from-environment")
    given = {"url": "http://127.0.0.1:2", "token": "given"}
    assert found(**given, environment=environment) == ("http://127.0.0.1:2", "given")


def test_a_local_token_is_not_shown_to_strangers(tmp_path: Path) -> None:
    """The data directory's token goes to this machine, or where the directory was named with it."""
    environment = {"EVENTPOST_DATA": str(data(tmp_path))}

    assert found(url="https://grid.example", environment=environment)[1] is None
    assert found(url="http://localhost:7790", environment=environment)[1] == "from-directory"
    assert found(url="https://grid.example", data=tmp_path)[1] == "from-directory"


def test_the_default_place(tmp_path: Path) -> None:
    """With nothing given, the default listener is meant, without a token."""
    assert found(data=tmp_path) == ("http://127.0.0.1:7790", None)


def test_a_token_is_not_printed(tmp_path: Path) -> None:
    """The place's repr hides the token."""
    assert "from-directory" not in repr(find(None, None, data(tmp_path), None, {}))
