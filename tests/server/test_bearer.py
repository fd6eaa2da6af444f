"""Bearer tokens at the real server: a real issuer, the official client, TLS."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.eventgrid import (
    EventGridConsumerClient,
    EventGridEvent,
    EventGridPublisherClient,
)

from eventpost.config.settings import Settings, TokensSettings
from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Schema
from eventpost.diagnosis import catalogue
from tests.credentials.issuers import AUDIENCE, IssuerServer, SigningKey, claims_of, issuing
from tests.server.running import EVENT, Served, served, until

KEY = SigningKey()
ROLES = ("EventGrid.Sender publish songs songs-*", "EventGrid.Reader receive *")


class StaticCredential:
    """What a program has in the place of `DefaultAzureCredential`."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes += scopes
        return AccessToken(self.token, int(time.time()) + 3_600)


@pytest.fixture
def issuer() -> Iterator[IssuerServer]:
    with issuing(KEY) as found:
        yield found


def settings(issuer: IssuerServer) -> Settings:
    tokens = TokensSettings(issuers=(issuer.url,), audience=(AUDIENCE,), roles=ROLES)
    return Settings(tokens=tokens)


@pytest.fixture(autouse=True)
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `eventpost serve --tls-dev` says that clients need."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "tls/ca.pem"))


@pytest.fixture
def server(tmp_path: Path, issuer: IssuerServer) -> Iterator[Served]:
    with served(tmp_path, settings(issuer), tls_dev=True) as found:
        found.loop.run(found.app.create_topic("songs", Schema.EVENT_GRID))
        found.loop.run(found.app.create_topic("orders", Schema.EVENT_GRID))
        yield found


def token(issuer: IssuerServer, **changed: Any) -> str:
    return KEY.sign(claims_of(issuer.url, time.time(), **changed))


def send(server: Served, credential: StaticCredential, topic: str = "songs") -> None:
    endpoint = f"{server.url}/topics/{topic}/api/events"
    event = EventGridEvent("genre/blues", "Song.Requested", {"title": "Boom"}, "1.0")
    with EventGridPublisherClient(endpoint, credential) as client:
        client.send(event, retry_backoff_factor=0.02)


def test_the_official_client_with_a_token_credential(server: Served, issuer: IssuerServer) -> None:
    """A program with a token credential publishes, its endpoint changed and nothing else; it asks
    for Event Grid's scope. Before the keys have come it tries again by itself."""
    credential = StaticCredential(token(issuer))

    send(server, credential)

    assert credential.scopes[0] == "https://eventgrid.azure.net/.default"
    topics, _ = server.call(server.app.report)
    assert next(each.published for each in topics if each.topic == "songs") == 1


@pytest.mark.parametrize(
    ("changed", "topic", "code"),
    [
        ({"exp": 1_000}, "songs", "EP3603"),
        ({"aud": "another"}, "songs", "EP3604"),
        ({"iss": "https://another.example"}, "songs", "EP3604"),
        ({}, "orders", "EP3605"),
        ({"roles": ["EventGrid.Reader"]}, "songs", "EP3605"),
    ],
)
def test_what_the_official_client_sees(
    server: Served, issuer: IssuerServer, changed: dict[str, Any], topic: str, code: str
) -> None:
    """Refusals name their finding in the client's own exception, and the finding explains it."""
    send(server, StaticCredential(token(issuer)))

    with pytest.raises(HttpResponseError) as refused:
        send(server, StaticCredential(token(issuer, **changed)), topic)

    is_forbidden = code == "EP3605"
    assert refused.value.status_code == (403 if is_forbidden else 401)
    assert isinstance(refused.value, ClientAuthenticationError) is not is_forbidden
    assert code in str(refused.value)
    assert catalogue.get(code).fix


def test_a_token_that_is_none(server: Served, issuer: IssuerServer) -> None:
    """A token that is no token, or signed by a stranger, is refused with its finding."""
    stranger = SigningKey(KEY.name).sign(claims_of(issuer.url, time.time()))
    send(server, StaticCredential(token(issuer)))

    for bad in ("opaque", stranger):
        with pytest.raises(ClientAuthenticationError, match="EP3602"):
            send(server, StaticCredential(bad))


def test_no_issuer_is_configured(tmp_path: Path, issuer: IssuerServer) -> None:
    """Without the setting every bearer token is refused, and the answer says what to set."""
    with served(tmp_path, tls_dev=True) as server:
        server.loop.run(server.app.create_topic("songs", Schema.EVENT_GRID))
        with pytest.raises(ClientAuthenticationError, match=r"EP3601.*tokens\.issuers"):
            send(server, StaticCredential(token(issuer)))


def test_an_issuer_that_does_not_answer(tmp_path: Path, issuer: IssuerServer) -> None:
    """While its keys cannot be had a bearer token gets 503 and a time to come again; keys of the
    topic go on."""
    issuer.answers.clear()
    with served(tmp_path, settings(issuer)) as server:
        server.loop.run(server.app.create_topic("songs", Schema.EVENT_GRID))
        path, bearer = "/topics/songs/api/events", {"Authorization": f"Bearer {token(issuer)}"}
        until(lambda: bool(issuer.asked))
        with server.http() as client:
            refused = client.post(path, json=[EVENT], headers=bearer)
            taken = client.post(path, json=[EVENT], headers={"aeg-sas-key": server.key("songs")})

    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert "EP3606" in refused.json()["error"]["message"]
    assert taken.status_code == 200


def test_a_key_goes_before_a_token(server: Served, issuer: IssuerServer) -> None:
    """The first credential decides: a good key with a bad token is let in, a bad key with a good
    token is not."""
    path, good = "/topics/songs/api/events", {"Authorization": f"Bearer {token(issuer)}"}
    send(server, StaticCredential(token(issuer)))
    with server.http() as client:
        keyed = {"aeg-sas-key": server.key("songs")}
        assert client.post(path, json=[EVENT], headers=keyed | {"Authorization": "Bearer x"})
        answer = client.post(path, json=[EVENT], headers=good | {"aeg-sas-key": "wrong"})
        query = client.post(f"{path}?aeg-sas-key=wrong", json=[EVENT], headers=good)

    assert answer.status_code == query.status_code == 401


def test_the_admin_token_opens_no_topic(server: Served) -> None:
    """The management's token is no token of an issuer."""
    with server.http() as client:
        headers = {"Authorization": f"Bearer {server.token}"}
        answer = client.post("/topics/songs/api/events", json=[EVENT], headers=headers)

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        (TokensSettings(issuers=("http://login.example",), audience=("a",)), "tokens.issuers"),
        (TokensSettings(issuers=("https://login.example",)), "tokens.audience"),
        (TokensSettings(roles=("Sender",)), "tokens.roles"),
    ],
)
def test_settings_that_cannot_be(tokens: TokensSettings, name: str) -> None:
    """Settings that would let nobody in, or anybody, are refused at the start, by their name."""
    from eventpost.config.checks import check

    with pytest.raises(InvalidRequest, match=name):
        check(Settings(tokens=tokens), {})


def test_pulling_with_a_token(server: Served, issuer: IssuerServer) -> None:
    """The official consumer receives with a token whose role may receive; one whose role may only
    publish is told so, and publishes."""
    server.loop.run(server.app.create_topic("clouds", Schema.CLOUD_EVENTS))
    with server.admin() as admin:
        wanted = {"name": "reader", "topic": "clouds", "endpointType": "pull"}
        assert admin.post("/subscriptions", json=wanted).status_code == 201
        event = {"id": "1", "source": "/s", "type": "t"}
        assert admin.post("/topics/clouds/publish", json=event).status_code == 200
    send(server, StaticCredential(token(issuer)))
    reader = StaticCredential(token(issuer, roles=["EventGrid.Reader"]))
    sender = StaticCredential(token(issuer))
    names = {"namespace_topic": "clouds", "subscription": "reader"}

    with EventGridConsumerClient(server.url, reader, **names) as client:
        (detail,) = client.receive(max_events=1, max_wait_time=10)
        client.acknowledge(lock_tokens=[detail.broker_properties.lock_token])
    with (
        EventGridConsumerClient(server.url, sender, **names) as client,
        pytest.raises(HttpResponseError, match="EP3605") as refused,
    ):
        client.receive(max_events=1, max_wait_time=10)

    assert detail.event.id == "1"
    assert refused.value.status_code == 403


ASYNC_PROGRAM = """
import asyncio, sys, time

from azure.core.credentials import AccessToken
from azure.core.messaging import CloudEvent
from azure.eventgrid.aio import EventGridConsumerClient, EventGridPublisherClient

url, token = sys.argv[1:]


class Credential:  # in the place of azure.identity.aio's
    async def get_token(self, *scopes, **options):
        return AccessToken(token, int(time.time()) + 3_600)

    async def close(self):
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass


async def main():
    names = {"namespace_topic": "songs-cloud"}
    async with EventGridPublisherClient(url, Credential(), **names) as publisher:
        await publisher.send(CloudEvent(source="/s", type="t", data={"song": "Blues"}))
    names["subscription"] = "reader"
    async with EventGridConsumerClient(url, Credential(), **names) as consumer:
        found = await consumer.receive(max_events=1, max_wait_time=10)
        tokens = [each.broker_properties.lock_token for each in found]
        done = await consumer.acknowledge(lock_tokens=tokens)
    print([each.event.data for each in found], done.succeeded_lock_tokens == tokens)


asyncio.run(main())
"""


@pytest.mark.slow
def test_the_asynchronous_clients_with_a_token(server: Served, issuer: IssuerServer) -> None:
    """The asynchronous publisher and consumer of a namespace work with a token credential, over
    TLS, in a program that has the variable which `eventpost serve --tls-dev` names."""
    server.loop.run(server.app.create_topic("songs-cloud", Schema.CLOUD_EVENTS))
    with server.admin() as admin:
        wanted = {"name": "reader", "topic": "songs-cloud", "endpointType": "pull"}
        assert admin.post("/subscriptions", json=wanted).status_code == 201
    both = token(issuer, roles=["EventGrid.Sender", "EventGrid.Reader"])

    done = subprocess.run(
        [sys.executable, "-c", ASYNC_PROGRAM, server.url, both],
        env={**os.environ, "SSL_CERT_FILE": str(server.data / "tls/ca.pem")},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )

    assert done.stdout == "[{'song': 'Blues'}] True\n", done.stderr
