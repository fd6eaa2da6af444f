"""The publish endpoint, over real sockets: what Event Grid answers to each kind of request."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.eventgrid import EventGridPublisherClient, generate_sas

from eventpost.app import compose
from eventpost.config.settings import Settings
from eventpost.core.events import Schema
from eventpost.grid.limits import GridLimits
from eventpost.http.server.request import Request
from eventpost.server.publish_answers import PublishAnswers
from eventpost.stores.sqlite import SqliteStore
from eventpost.testing import Receiver
from eventpost.testing.disk import Disk
from tests.server.running import EVENT, Served, served

GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
PATH = "/topics/songs/api/events"


@pytest.fixture
def server(server: Served) -> Served:
    """With a topic of each schema."""
    server.loop.run(server.app.create_topic("songs", Schema.EVENT_GRID))
    server.loop.run(server.app.create_topic("clouds", Schema.CLOUD_EVENTS))
    return server


@pytest.fixture
def key(server: Served) -> str:
    return server.key("songs")


@pytest.fixture
def publisher(server: Served, key: str) -> Iterator[httpx.Client]:
    """A client that sends the key of `songs`."""
    with server.http() as client:
        client.headers["aeg-sas-key"] = key
        yield client


def kept_count(server: Served, topic: str = "songs") -> int:
    topics, _ = server.call(server.app.report)
    return next(each.published for each in topics if each.topic == topic)


def rejected_count(server: Served) -> int:
    topics, _ = server.call(server.app.report)
    return next(each.rejected for each in topics if each.topic == "songs")


def post(client: httpx.Client, path: str = PATH, **headers: str) -> httpx.Response:
    return client.post(path, json=[EVENT], headers=headers)


def error(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code and detail code of an Event Grid error."""
    body = answer.json()["error"]
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert body["message"] == body["details"][0]["message"]
    return answer.status_code, body["code"], body["details"][0]["code"]


def test_a_publish_is_answered_as_event_grid_does(publisher: httpx.Client, server: Served) -> None:
    """The answer is exactly 200 with no body and Event Grid's headers, once the event is kept."""
    answer = post(publisher)

    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["content-length"] == "0"
    assert answer.headers["api-supported-versions"] == "2018-01-01"
    assert GUID.fullmatch(answer.headers["x-ms-request-id"])
    assert "strict-transport-security" not in answer.headers
    assert kept_count(server) == 1


def test_request_ids_differ(publisher: httpx.Client) -> None:
    """No two answers carry the same request id, refusals included."""
    ids = [post(publisher).headers["x-ms-request-id"] for _ in range(3)]
    ids.append(publisher.get(PATH).headers["x-ms-request-id"])

    assert len(set(ids)) == 4


def test_request_ids_never_repeat() -> None:
    """Ten thousand answers have ten thousand ids, refusals between them included."""
    answers = PublishAnswers()
    request = Request(b"POST", PATH.encode(), b"", {})
    found: set[str] = set()
    for number in range(10_000):
        raw = answers.not_found(request) if number % 7 == 0 else answers.success(request)
        found.add(GUID.search(raw.decode())[0])  # type: ignore[index]  # each answer has one

    assert len(found) == 10_000


@pytest.mark.parametrize(
    "path",
    [
        "/topics/songs/api/events",
        "/topics/songs/api/events/",
        "/songs/api/events",
        "/TOPICS/songs/Api/Events",
        "/topics/SONGS/api/events",
        "/topics/songs/api/events?api-version=2018-01-01",
        "/topics/s%6Fngs/api/events",
    ],
)
def test_spellings_of_the_path(publisher: httpx.Client, path: str) -> None:
    """The path is found in any case, with or without its prefix and its last slash."""
    assert post(publisher, path).status_code == 200
    assert post(publisher, path).status_code == 200


@pytest.mark.parametrize("path", ["/topics/sons/api/events", "/api/events", "/topics/api/events"])
def test_an_unknown_topic(publisher: httpx.Client, path: str) -> None:
    """Publishing to what is no topic is 404 and quotes the path."""
    answer = post(publisher, path)

    assert error(answer) == (404, "NotFound", "ResourceNotFound")
    assert path in answer.json()["error"]["message"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_other_methods(publisher: httpx.Client, method: str) -> None:
    """Only POST and OPTIONS are supported; the answer says so."""
    answer = publisher.request(method, PATH)

    assert error(answer) == (405, "MethodNotAllowed", "MethodNotAllowed")
    assert answer.headers["allow"] == "OPTIONS, POST"


def test_head_is_not_found(publisher: httpx.Client) -> None:
    """HEAD is 404, as with Event Grid, and has no body."""
    answer = publisher.head(PATH)

    assert answer.status_code == 404
    assert answer.content == b""


@pytest.mark.parametrize(
    ("topic", "schema"), [("songs", "EventGridEvent"), ("clouds", "CloudEventV10")]
)
def test_options(http: httpx.Client, topic: str, schema: str) -> None:
    """OPTIONS needs no key and tells which schema the topic takes."""
    answer = http.options(f"/topics/{topic}/api/events")

    assert answer.status_code == 200
    assert answer.headers["aeg-input-event-schema"] == schema
    assert answer.headers["api-supported-versions"] == "2018-01-01"
    assert GUID.fullmatch(answer.headers["x-ms-request-id"])


# --- who may ------------------------------------------------------------------------------------


def test_both_keys_open_and_no_other(http: httpx.Client, server: Served) -> None:
    """key1 and key2 publish, in header and query; no key, a wrong and an empty one do not."""
    topic = server.app.topic("songs")
    assert post(http, **{"aeg-sas-key": topic.key1}).status_code == 200
    assert post(http, **{"aeg-sas-key": topic.key2}).status_code == 200
    assert http.post(PATH, params={"aeg-sas-key": topic.key1}, json=[EVENT]).status_code == 200

    assert error(post(http, **{"aeg-sas-key": "d3Jvbmc="})) == UNAUTHORIZED
    assert error(post(http)) == UNAUTHORIZED
    assert error(post(http, **{"aeg-sas-key": ""})) == (400, "BadRequest", "InvalidSas")
    assert kept_count(server) == 3
    assert rejected_count(server) == 3


UNAUTHORIZED = (401, "Unauthorized", "Unauthorized")


def test_the_admin_token_opens_nothing_here(http: httpx.Client, server: Served) -> None:
    """The data plane is opened by the topic's keys alone."""
    assert post(http, Authorization=f"Bearer {server.token}").status_code == 401


def test_a_regenerated_key_counts_at_once(publisher: httpx.Client, server: Served) -> None:
    """The old key is refused and the new one taken from the moment of its change."""
    assert post(publisher).status_code == 200

    server.loop.run(server.app.regenerate_key("songs", "key1"))

    assert post(publisher).status_code == 401
    assert post(publisher, **{"aeg-sas-key": server.key("songs")}).status_code == 200


def test_a_deleted_topic_is_gone_at_once(publisher: httpx.Client, server: Served) -> None:
    """A topic that was published to before is 404 once it is deleted."""
    assert post(publisher).status_code == 200

    server.loop.run(server.app.delete_topic("songs"))

    assert post(publisher).status_code == 404


def test_a_topic_of_exactly_that_name_comes_first(publisher: httpx.Client, server: Served) -> None:
    """A name in another case goes to the topic of that case as soon as there is one."""
    path = "/topics/Songs/api/events"
    assert post(publisher, path).status_code == 200

    server.loop.run(server.app.create_topic("Songs", Schema.EVENT_GRID))

    assert post(publisher, path).status_code == 401
    assert post(publisher, path, **{"aeg-sas-key": server.key("Songs")}).status_code == 200
    assert kept_count(server, "Songs") == 1


def sas(url: str, key: str) -> str:
    return generate_sas(url, key, datetime.now(UTC) + timedelta(hours=1))


def test_sas_tokens(http: httpx.Client, server: Served, key: str) -> None:
    """A token of the official client opens, in both headers; one for another topic does not."""
    token = sas(f"{server.url}{PATH}", key)
    other = sas(f"{server.url}/topics/clouds/api/events", key)

    assert post(http, **{"aeg-sas-token": token}).status_code == 200
    assert post(http, Authorization=f"SharedAccessSignature {token}").status_code == 200
    assert post(http, **{"aeg-sas-token": other}).status_code == 401


def test_a_token_for_the_public_address(tmp_path: Path) -> None:
    """Behind a proxy that renames the host, a token for the public address opens."""
    with served(tmp_path, public_url="https://grid.example/prefix") as server:
        server.loop.run(server.app.create_topic("songs", Schema.EVENT_GRID))
        key = server.key("songs")
        with server.http() as http:
            token = sas(f"https://grid.example/prefix{PATH}", key)
            stranger = sas(f"https://other.example/prefix{PATH}", key)

            assert post(http, **{"aeg-sas-token": token}).status_code == 200
            assert post(http, **{"aeg-sas-token": stranger}).status_code == 401


def test_a_built_in_topic_takes_nothing_from_outside(http: httpx.Client, server: Served) -> None:
    """Nobody but eventpost publishes to a topic of its own, even with its key."""
    key = server.key("eventpost.deadletters")

    answer = post(http, "/topics/eventpost.deadletters/api/events", **{"aeg-sas-key": key})

    assert error(answer) == (403, "Forbidden", "Forbidden")


# --- what is refused ----------------------------------------------------------------------------


def test_invalid_events(publisher: httpx.Client, server: Served) -> None:
    """Bad JSON, a missing field and an empty array are refused as a whole, and counted."""
    no_subject = {name: value for name, value in EVENT.items() if name != "subject"}
    bad = [b"{", msgspec.json.encode([EVENT, no_subject]), b"[]"]

    codes = [error(publisher.post(PATH, content=body)) for body in bad]

    assert codes == [(400, "BadRequest", "InputJsonInvalid")] * 3
    assert kept_count(server) == 0
    assert rejected_count(server) == 3


def test_content_types_of_cloud_events(http: httpx.Client, server: Served) -> None:
    """A topic of CloudEvents refuses another content type with 415."""
    headers = {"aeg-sas-key": server.key("clouds"), "content-type": "text/plain"}

    answer = http.post("/topics/clouds/api/events", content=b"x", headers=headers)

    assert error(answer) == (415, "UnsupportedMediaType", "InvalidContentType")


def test_a_request_above_the_bound(publisher: httpx.Client) -> None:
    """A body above 1,536,000 bytes is 413, and the message names the bound."""
    at_bound = publisher.post(PATH, content=b" " * 1_536_000)
    above = publisher.post(PATH, content=b" " * 1_536_001)

    assert at_bound.status_code == 400
    assert error(above) == (413, "RequestEntityTooLarge", "PayloadTooLarge")
    assert "1536000" in above.json()["error"]["message"]


def test_malformed_http_is_refused_in_event_grids_form(publisher: httpx.Client) -> None:
    """What the HTTP server refuses itself has Event Grid's error body too."""
    answer = publisher.post(f"{PATH}?{'x' * 9_000}", json=[EVENT])

    assert error(answer)[0] == 414


def test_malformed_requests_to_the_api_get_a_problem(http: httpx.Client) -> None:
    """What the HTTP server refuses of a management request is a problem document."""
    answer = http.post("/admin/v1/topics", content=b" " * 1_536_001)

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "RequestEntityTooLarge"


def test_too_much_at_once(tmp_path: Path) -> None:
    """What there is no room for is 503 with Retry-After, never 200; at the bound it is kept."""
    settings = Settings(grid=GridLimits(group_events_max=2))
    with served(tmp_path, settings) as server:
        server.loop.run(server.app.create_topic("songs", Schema.EVENT_GRID))
        with server.http() as http:
            http.headers["aeg-sas-key"] = server.key("songs")

            kept = http.post(PATH, json=[EVENT] * 2)
            refused = http.post(PATH, json=[EVENT] * 3)

            assert kept.status_code == 200
            assert error(refused) == (503, "ServiceUnavailable", "ServiceUnavailable")
            assert int(refused.headers["retry-after"]) >= 1
            assert (kept_count(server), rejected_count(server)) == (2, 1)


def test_a_commit_that_fails(tmp_path: Path) -> None:
    """When the disk fails at the sync of the commit the answer is 503, never 200."""
    disk = Disk(tmp_path / "disk", seed=1)
    build: Any = partial(compose.build, new_store=partial(SqliteStore, vfs=disk.name))
    with served(tmp_path / "data", build=build) as server:
        server.loop.run(server.app.create_topic("songs", Schema.EVENT_GRID))
        with server.http() as http:
            http.headers["aeg-sas-key"] = server.key("songs")
            disk.fail_sync_at = disk.syncs + 1

            answer = post(http)

            assert error(answer) == (503, "ServiceUnavailable", "ServiceUnavailable")
            assert int(answer.headers["retry-after"]) >= 1


# --- what goes on with the events -----------------------------------------------------------------


def test_the_trace_of_a_request_goes_with_its_events(
    publisher: httpx.Client, admin: httpx.Client, webhook: Receiver
) -> None:
    """traceparent and tracestate of the publish reach the handler; without them it gets none."""
    subscription = {"name": "all", "topic": "songs", "endpoint": webhook.url}
    assert admin.post("/subscriptions", json=subscription).status_code == 201
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    post(publisher, traceparent=parent, tracestate="a=b")
    webhook.wait_for(1)
    post(publisher)
    with_trace, without = webhook.wait_for(2)

    assert with_trace.headers["traceparent"] == parent
    assert with_trace.headers["tracestate"] == "a=b"
    assert "traceparent" not in without.headers


def test_the_official_client_publishes(server: Served, key: str) -> None:
    """azure-eventgrid publishes unchanged, with a key."""
    with EventGridPublisherClient(f"{server.url}{PATH}", AzureKeyCredential(key)) as client:
        client.send([EVENT, EVENT])

    assert kept_count(server) == 2


def test_over_tls_the_answer_demands_tls(tmp_path: Path) -> None:
    """HSTS is sent as Event Grid sends it, over TLS."""
    with served(tmp_path, tls_dev=True) as server:
        server.loop.run(server.app.create_topic("songs", Schema.EVENT_GRID))
        with server.http() as http:
            accepted = post(http, **{"aeg-sas-key": server.key("songs")})
            refused = post(http)

    assert accepted.status_code == 200
    for answer in (accepted, refused):
        assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
