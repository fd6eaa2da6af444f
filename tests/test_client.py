"""The Python client against a whole server: what it sends, gives back and raises."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from eventpost import AsyncClient, Client
from eventpost.client.discovery import find
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
from eventpost.registry.declarations import SubscriptionDeclaration
from eventpost.server import api
from eventpost.testing import Receiver
from tests.server.running import EVENT, Served, served, until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "data") as running:
        yield running


@pytest.fixture
def webhook() -> Iterator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def client(server: Served, webhook: Receiver) -> Iterator[Client]:
    """With a topic `songs` and a subscription `blues`."""
    with Client(server.url, token=server.token) as made:
        made.create_topic("songs")
        declared = SubscriptionDeclaration(name="blues", topic="songs", endpoint=webhook.url)
        made.create_subscription(declared)
        yield made


def bury(client: Client, webhook: Receiver, count: int) -> None:
    """Make so many dead letters."""
    webhook.always = 400
    client.publish_events("songs", [EVENT | {"id": str(number)} for number in range(count)])
    until(lambda: client.count_dead_letters() == count)
    webhook.always = 200


# --- operations ---------------------------------------------------------------------------------


def test_every_operation_has_its_method() -> None:
    """What the API can do, both clients can, under the API's names."""
    streamed = {"replay_dead_letters": "replay", "purge_dead_letters": "purge"}
    for operation in api.operations():
        name = streamed.get(operation.name, operation.name)

        assert getattr(Client, name).__doc__
        assert getattr(AsyncClient, name).__doc__


def test_topics(client: Client) -> None:
    """Topics are listed, shown and deleted; their keys are values of their own."""
    assert [topic.name for topic in client.list_topics()] == [
        "eventpost.deadletters",
        "eventpost.health",
        "songs",
    ]
    assert client.show_topic("songs").endpoint.endswith("/topics/songs/api/events")
    before = client.list_keys("songs")
    after = client.regenerate_key("songs", "key2")
    assert after.key1 == before.key1
    assert after.key2 != before.key2

    client.delete_topic("songs")

    with pytest.raises(NotFound, match="songs"):
        client.show_topic("songs")


def test_subscriptions(client: Client, webhook: Receiver) -> None:
    """A subscription is declared, changed, held, moved, asked about and deleted."""
    assert client.update_subscription("blues", {"concurrency": 3}).concurrency == 3
    declared = {"name": "blues", "endpoint": webhook.url, "topic": "songs"}
    assert client.replace_subscription("blues", declared, topic="songs").concurrency == 64
    assert client.pause_subscription("blues").is_paused
    assert not client.resume_subscription("blues").is_paused
    assert client.rewind_subscription("blues", "earliest") == 0
    assert client.test_subscription("blues", EVENT).is_match
    assert client.test_subscription("blues", msgspec.json.encode(EVENT)).is_match
    assert client.show_full_url("blues") == webhook.url
    books = client.show_subscription("blues").books
    assert books is not None
    assert books.matched == 0
    assert [each.name for each in client.list_subscriptions(topic="songs")] == ["blues"]

    client.delete_subscription("blues")

    assert client.list_subscriptions() == []


def test_a_shown_subscription_can_be_put_back(client: Client) -> None:
    """What the client gives as a subscription declares it as it is."""
    shown = client.show_subscription("blues")

    assert client.replace_subscription("blues", shown).endpoint == shown.endpoint


def test_publishing(client: Client, webhook: Receiver) -> None:
    """Events go the way of every publisher with a key, else through the management API."""
    key = client.list_keys("songs").key1

    assert client.publish_events("songs", [EVENT, EVENT], key=key) == 2
    assert client.publish_events("songs", EVENT, key=key) == 1
    assert client.publish_events("songs", msgspec.json.encode([EVENT])) == 1
    assert len(webhook.wait_for_events(4)) == 4


def test_cloud_events_are_published_as_such(client: Client) -> None:
    """One CloudEvent or several get the content type that their topic demands."""
    client.create_topic("clouds", input_schema="cloudeventschemav1_0")
    key = client.list_keys("clouds").key1
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "T"}

    assert client.publish_events("clouds", event, key=key) == 1
    assert client.publish_events("clouds", [event, event], key=key) == 2
    assert client.publish_events("clouds", event) == 1


def test_dead_letters_are_read_page_by_page(
    client: Client, webhook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The iterator goes over all pages; the list is one."""
    monkeypatch.setattr("eventpost.client.operations.deadletters.PAGE", 2)
    bury(client, webhook, 5)

    letters = list(client.dead_letters(subscription="blues"))

    assert len({letter.id for letter in letters}) == 5
    assert len(client.list_dead_letters(limit=3)) == 3
    assert len(client.list_dead_letters(after=letters[3].id)) == 1
    assert client.count_dead_letters(subscription="blues", replayed=False) == 5
    assert bytes(letters[0].event) == b"null"
    shown = client.show_dead_letter(letters[0].id)
    assert msgspec.json.decode(shown.event)["data"] == EVENT["data"]


def test_replay_and_purge_tell_how_far_they_are(client: Client, webhook: Receiver) -> None:
    """Progress is iterated; the last one is finished."""
    bury(client, webhook, 4)
    first = client.list_dead_letters(limit=1)[0].id

    assert [each.total for each in client.replay(dry_run=True)] == [4]
    assert list(client.replay(rate="50/s", ids=[first]))[-1].is_finished
    webhook.wait_for(4 + 1)
    purged = list(client.purge(subscription="blues"))
    assert (purged[-1].done, purged[-1].total) == (3, 3)
    assert client.count_dead_letters() == 0


def test_tail(client: Client, server: Served) -> None:
    """Events are iterated as they come, until the iterator is closed."""
    following = client.tail_topic("songs")
    with Client(server.url, token=server.token) as publisher, ThreadPoolExecutor() as pool:
        publisher.publish_events("songs", EVENT)  # before the first look: not in the tail
        listeners = server.app.grid.listeners

        def publish() -> None:
            until(lambda: any(listeners.values()))
            publisher.publish_events("songs", EVENT | {"id": "2"})

        published = pool.submit(publish)
        tailed = next(following)
        published.result()

    assert tailed.position == 1
    assert msgspec.json.decode(tailed.event)["id"] == "2"


def test_the_server(client: Client, tmp_path: Path) -> None:
    """Store and server answer as values."""
    client.publish_events("songs", EVENT | {"id": "a/b"})

    assert client.show_usage().event_count == 1
    assert client.verify_store().is_intact
    assert client.backup_store(str(tmp_path / "copy")).bytes > 0
    assert client.show_health().status == "ok"
    assert client.show_status().topic_count == 3
    assert client.show_report().subscriptions[0].subscription == "blues"
    assert client.show_config()[0].name == "server.data"
    assert client.trace_event("a/b", since="1h")[0].event_id == "a/b"


def test_the_asynchronous_client_does_the_same(
    client: Client, server: Served, webhook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls are awaited, streams and pages iterated asynchronously."""
    monkeypatch.setattr("eventpost.client.operations.deadletters.PAGE", 2)
    bury(client, webhook, 5)

    async def everything() -> None:
        async with AsyncClient(server.url, token=server.token) as other:
            topic = await other.create_topic("albums")
            assert topic.name == "albums"
            assert len([each async for each in other.dead_letters()]) == 5
            progress = [each async for each in other.purge()]
            assert progress[-1].is_finished
            with pytest.raises(Conflict):
                await other.create_topic("albums")
            with pytest.raises(NotFound):
                _ = [each async for each in other.tail_topic("unknown")]

    asyncio.run(everything())


# --- errors -------------------------------------------------------------------------------------


def key(client: Client) -> str:
    return client.list_keys("songs").key1


FAILURES: dict[str, tuple[type[EventpostError], Callable[[Client], object]]] = {
    "unknown topic": (NotFound, lambda client: client.show_topic("albums")),
    "taken name": (Conflict, lambda client: client.create_topic("songs")),
    "no name": (InvalidRequest, lambda client: client.create_topic("a b")),
    "bound": (InvalidRequest, lambda client: client.list_dead_letters(limit=0)),
    "event": (InvalidEvent, lambda client: client.publish_events("songs", [{}], key=key(client))),
    "no JSON": (InvalidEvent, lambda client: client.publish_events("songs", b"{", key=key(client))),
    "wrong key": (Unauthorized, lambda client: client.publish_events("songs", [EVENT], key="eA==")),
    "topic by key": (NotFound, lambda client: client.publish_events("albums", [EVENT], key="eA==")),
    "tail": (NotFound, lambda client: list(client.tail_topic("albums"))),
}


@pytest.mark.parametrize("name", FAILURES)
def test_errors_are_what_the_server_raised(client: Client, name: str) -> None:
    """A problem document or an Event Grid error is raised as the error it tells of."""
    kind, fail = FAILURES[name]

    with pytest.raises(kind) as raised:
        fail(client)

    assert type(raised.value) is kind
    assert raised.value.code
    assert raised.value.what


def test_a_fix_travels(client: Client, webhook: Receiver) -> None:
    """A refused handshake is an error of its own, with its finding and what to do."""
    webhook.consent = False

    with pytest.raises(HandshakeFailed) as raised:
        client.create_subscription({"name": "jazz", "topic": "songs", "endpoint": webhook.url})

    assert raised.value.code.startswith("EP26")
    assert raised.value.fix


def test_overload_says_when_to_come_back(client: Client, server: Served) -> None:
    """Retry-After of both kinds of answers is kept."""
    key = client.list_keys("songs").key1
    server.app.grid.is_full = True

    with pytest.raises(Overloaded) as by_key:
        client.publish_events("songs", [EVENT], key=key)
    with pytest.raises(Overloaded) as by_token:
        client.publish_events("songs", [EVENT])

    assert by_key.value.retry_after_s == by_token.value.retry_after_s == 10


def test_the_token_decides(server: Served) -> None:
    """Without the admin token nothing is done."""
    with Client(server.url, token="wrong") as client, pytest.raises(Unauthorized) as raised:
        client.list_topics()

    assert raised.value.code == "EP1020"


def test_a_stream_that_ends_with_a_problem_raises_it() -> None:
    """An error in the middle of a stream is raised after what came before it."""
    lines = (
        b'{"done":1,"total":2}\n'
        b'{"problem":{"type":"t","title":"T","status":503,"code":"EP3003","detail":"Failed."}}\n'
    )
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=lines))
    with Client("http://grid.example", token="x", transport=transport) as client:
        progress = client.purge()

        assert next(progress).done == 1
        with pytest.raises(Overloaded, match="Failed"):
            next(progress)


def test_no_server() -> None:
    """A server that cannot be reached is an error of its own, with what to do."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with Client(url, token="x") as client, pytest.raises(ServerUnreachable) as raised:
            client.list_topics()

    assert raised.value.code == "EP1022"
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


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing given, the default listener is meant, without a token."""
    monkeypatch.chdir(tmp_path)

    assert found() == ("http://127.0.0.1:7790", None)


def test_a_directory_without_a_server(tmp_path: Path) -> None:
    """Where a data directory is named, no other server is meant: an error names the directory."""
    for given in ({"data": tmp_path}, {"environment": {"EVENTPOST_DATA": str(tmp_path)}}):
        with pytest.raises(ServerUnreachable) as raised:
            found(**given)
        assert str(tmp_path) in raised.value.what
        assert str(tmp_path) in raised.value.fix

    assert found(data=tmp_path, url="http://[::1]:1")[0] == "http://[::1]:1"


def test_a_token_is_not_printed(tmp_path: Path) -> None:
    """The place's repr hides the token."""
    assert "from-directory" not in repr(find(None, None, data(tmp_path), None, {}))


def test_the_client_finds_a_local_server(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named the data directory, a client needs neither address nor token."""
    for name in ("EVENTPOST_URL", "EVENTPOST_TOKEN", "EVENTPOST_DATA"):
        monkeypatch.delenv(name, raising=False)

    with Client(data=server.data) as client:
        assert client.show_status().public_url == server.url


def test_a_development_authority_is_trusted(tmp_path: Path) -> None:
    """Over TLS with --tls-dev the client trusts the authority that it finds in the directory."""
    with served(tmp_path, tls_dev=True) as server, Client(data=server.data) as client:
        assert client.show_health().status == "ok"
        assert client.place.url.startswith("https://")
