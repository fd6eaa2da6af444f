"""The official clients for JavaScript against the real server over TLS, unchanged."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventpost.client import Client
from eventpost.config.local import AUTHORITY_FILE
from eventpost.config.settings import Settings, TokensSettings
from tests.credentials.issuers import AUDIENCE, SigningKey, claims_of, jwks
from tests.documentation import ROOT, blocks
from tests.server.running import Served, served
from tests.services.javascript import MODULES, require_javascript, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PROGRAMS = Path(__file__).parent / "js"
TOPIC, NAME = "song-requests", "blues"
ISSUER = "https://login.example/tenant"
KEY = SigningKey(algorithm="ES256")
CLOUD = "cloudeventschemav1_0"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    require_javascript()
    (tmp_path / "keys.json").write_text(jwks(KEY))
    tokens = TokensSettings(
        issuers=(f"{ISSUER} file:{tmp_path}/keys.json",),
        audience=(AUDIENCE,),
        roles=("EventGrid.Sender * song*",),
    )
    with served(tmp_path / "data", Settings(tokens=tokens), tls_dev=True) as running:
        with Client(data=running.data) as client:
            client.create_topic(TOPIC, input_schema=CLOUD)
            client.create_subscription({"name": NAME, "topic": TOPIC, "endpointType": "pull"})
        yield running


def _secret_of(server: Served, kind: str) -> str:
    """A key of the topic, or a token of the issuer."""
    return server.key(TOPIC) if kind == "key" else KEY.sign(claims_of(ISSUER, time.time()))


@pytest.mark.parametrize("kind", ["key", "bearer"])
def test_a_whole_round(server: Served, kind: str) -> None:
    """Send, receive, renew, release, acknowledge, reject with @azure/eventgrid-namespaces, with a
    key and with a token credential: each says what came of each token, and the events are what was
    sent."""
    told: dict[str, Any] = json.loads(
        run(
            PROGRAMS / "namespaces.cjs",
            *(server.url, kind, _secret_of(server, kind), TOPIC, NAME),
            authority=server.data / AUTHORITY_FILE,
        )
    )

    received = told["received"]
    assert [each["id"] for each in received] == [f"event-{number}" for number in range(4)]
    assert received[1]["data"] == {"number": 1, "é": [1, 2.5]}
    assert received[1]["subject"] == "genre/1"
    assert told["renewed"] == [[0, 1, 2, 3], []]
    assert told["released"] == [[0], []]
    assert told["delayed"] == [[1], []]
    assert told["acknowledged"] == [[2], ["BadToken"]]
    assert told["rejected"] == [[3], ["TokenLost"]]
    assert told["again"] == [["event-0", 2]]
    assert told["nothing"] == []
    assert told["refusal"] == "401 Unauthorized"


@pytest.mark.parametrize(("schema", "topic_schema"), [("CloudEvent", CLOUD), ("EventGrid", None)])
def test_publishing(server: Served, schema: str, topic_schema: str | None) -> None:
    """@azure/eventgrid publishes in both schemas, with a key, a signature and a token."""
    with Client(data=server.data) as client:
        client.create_topic("songs", input_schema=topic_schema or "eventgridschema")
        client.create_subscription({"name": NAME, "topic": "songs", "endpointType": "pull"})
        endpoint = client.show_topic("songs").endpoint

    told = run(
        PROGRAMS / "publisher.cjs",
        *(endpoint, server.key("songs"), schema, _secret_of(server, "bearer")),
        authority=server.data / AUTHORITY_FILE,
    )

    assert told == "sent\n"
    with server.http() as http:
        answer = http.post(
            f"/topics/songs/eventsubscriptions/{NAME}:receive?maxEvents=10",
            headers={"aeg-sas-key": server.key("songs")},
        )
    events = [each["event"] for each in answer.json()["value"]]
    assert [each["id"] for each in events] == ["key", "signature", "bearer"]
    assert events[0]["data"]["é"][0] == 1


def test_the_documented_program(server: Served, tmp_path: Path) -> None:
    """What the page on pull delivery shows runs as it stands."""
    with server.http() as http:
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": "Blues"}
        answer = http.post(
            f"/topics/{TOPIC}:publish",
            json=[event],
            headers={
                "aeg-sas-key": server.key(TOPIC),
                "content-type": "application/cloudevents-batch+json",
            },
        )
        assert answer.status_code == 200
    (block,) = (each for each in blocks(ROOT / "docs/pull.md") if each.language == "js")
    (tmp_path / "node_modules").symlink_to(MODULES)
    program = tmp_path / "program.mjs"
    program.write_text(f"const [endpoint, key] = process.argv.slice(2);\n{block.text}")

    told = run(program, server.url, server.key(TOPIC), authority=server.data / AUTHORITY_FILE)

    assert told == "Blues\n"
    with Client(data=server.data) as client:
        books = client.show_subscription(NAME, topic=TOPIC).books
    assert books is not None
    assert (books.delivered, books.pending) == (1, 0)
