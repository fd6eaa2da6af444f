"""The publish endpoint, over real sockets: what Event Grid answers to each kind of request."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.eventgrid import EventGridPublisherClient, generate_sas

from eventpost.core.errors import Overloaded
from eventpost.core.events import Schema
from eventpost.http.server.request import Request
from eventpost.server.publish_answers import PublishAnswers
from tests.server.fake import FakeApp
from tests.server.running import served

GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
KEY1, KEY2 = "a2V5MQ==", "a2V5Mg=="
EVENT = {
    "id": "1",
    "subject": "genre/blues",
    "eventType": "Song.Requested",
    "eventTime": "2026-01-01T00:00:00Z",
    "data": {"title": "Dust My Broom"},
    "dataVersion": "1",
}
PATH = "/topics/songs/api/events"


@pytest.fixture
def app() -> FakeApp:
    made = FakeApp()
    made._put("songs", Schema.EVENT_GRID)
    made._put("clouds", Schema.CLOUD_EVENTS)
    return made


@pytest.fixture
def http(app: FakeApp) -> Iterator[httpx.Client]:
    with served(lambda: app) as server, httpx.Client(base_url=server.url, verify=False) as client:
        yield client


def published(http: httpx.Client, path: str = PATH, **headers: str) -> httpx.Response:
    return http.post(path, json=[EVENT], headers={"aeg-sas-key": KEY1} | headers)


def error(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()["error"]
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert body["message"] == body["details"][0]["message"]
    return answer.status_code, body["code"], body["details"][0]["code"]


def test_a_publish_is_answered_as_event_grid_does(http: httpx.Client, app: FakeApp) -> None:
    """The answer is exactly 200 with no body and Event Grid's headers, once the grid has it."""
    answer = published(http)

    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["content-length"] == "0"
    assert answer.headers["api-supported-versions"] == "2018-01-01"
    assert GUID.fullmatch(answer.headers["x-ms-request-id"])
    assert "strict-transport-security" not in answer.headers
    (event,) = app.grid.published
    assert (event.id, event.type, event.subject) == ("1", "Song.Requested", "genre/blues")


def test_request_ids_differ(http: httpx.Client) -> None:
    """No two answers carry the same request id, refusals included."""
    ids = [published(http).headers["x-ms-request-id"] for _ in range(3)]
    ids.append(http.get(PATH).headers["x-ms-request-id"])

    assert len(set(ids)) == 4


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
def test_spellings_of_the_path(http: httpx.Client, path: str) -> None:
    """The path is found in any case, with or without its prefix and its last slash."""
    assert published(http, path).status_code == 200
    assert published(http, path).status_code == 200


@pytest.mark.parametrize("path", ["/topics/sons/api/events", "/api/events", "/topics/api/events"])
def test_an_unknown_topic(http: httpx.Client, path: str) -> None:
    """Publishing to what is no topic is 404 and quotes the path."""
    answer = published(http, path)

    assert error(answer) == (404, "NotFound", "ResourceNotFound")
    assert path in answer.json()["error"]["message"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_other_methods(http: httpx.Client, method: str) -> None:
    """Only POST and OPTIONS are supported; the answer says so."""
    answer = http.request(method, PATH)

    assert error(answer) == (405, "MethodNotAllowed", "MethodNotAllowed")
    assert answer.headers["allow"] == "OPTIONS, POST"


def test_head_is_not_found(http: httpx.Client) -> None:
    """HEAD is 404, as with Event Grid, and has no body."""
    answer = http.head(PATH)

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


def test_both_keys_open_and_no_other(http: httpx.Client, app: FakeApp) -> None:
    """key1 and key2 publish; no key, a wrong one and an empty one do not."""
    assert published(http, **{"aeg-sas-key": KEY2}).status_code == 200
    assert http.post(f"{PATH}?aeg-sas-key={KEY1}", json=[EVENT]).status_code == 200
    wrong = published(http, **{"aeg-sas-key": "d3Jvbmc="})
    assert error(wrong) == (401, "Unauthorized", "Unauthorized")
    assert error(http.post(PATH, json=[EVENT])) == (401, "Unauthorized", "Unauthorized")
    assert error(published(http, **{"aeg-sas-key": ""})) == (400, "BadRequest", "InvalidSas")
    assert len(app.grid.published) == 2
    assert app.rejected == {"songs": 3}


def test_the_admin_token_opens_nothing_here(http: httpx.Client, app: FakeApp) -> None:
    """The data plane is opened by the topic's keys alone."""
    answer = http.post(PATH, json=[EVENT], headers={"Authorization": f"Bearer {app.admin_token}"})

    assert answer.status_code == 401


def test_a_regenerated_key_counts_at_once(http: httpx.Client, app: FakeApp) -> None:
    """The old key is refused and the new one taken from the moment of its change."""
    assert published(http).status_code == 200
    topic = msgspec.structs.replace(app.topic("songs"), key1="bmV3")
    app._topics["songs"] = topic

    assert published(http).status_code == 401
    assert published(http, **{"aeg-sas-key": "bmV3"}).status_code == 200


def test_a_deleted_topic_is_gone_at_once(http: httpx.Client, app: FakeApp) -> None:
    """A topic that was published to before is 404 once it is deleted."""
    assert published(http).status_code == 200
    del app._topics["songs"]

    assert published(http).status_code == 404


def test_a_topic_of_exactly_that_name_comes_first(http: httpx.Client, app: FakeApp) -> None:
    """A name in another case goes to the topic of that case as soon as there is one."""
    path = "/topics/Songs/api/events"
    assert published(http, path).status_code == 200
    app._topics["Songs"] = msgspec.structs.replace(app.topic("songs"), name="Songs", key1="bmV3")

    assert published(http, path).status_code == 401
    assert published(http, path, **{"aeg-sas-key": "bmV3"}).status_code == 200


def test_sas_tokens(http: httpx.Client) -> None:
    """A token of the official client opens, in both headers; one for another topic does not."""
    token = sas(f"{http.base_url}{PATH}")
    other = sas(f"{http.base_url}/topics/clouds/api/events")

    assert http.post(PATH, json=[EVENT], headers={"aeg-sas-token": token}).status_code == 200
    authorization = {"Authorization": f"SharedAccessSignature {token}"}
    assert http.post(PATH, json=[EVENT], headers=authorization).status_code == 200
    assert http.post(PATH, json=[EVENT], headers={"aeg-sas-token": other}).status_code == 401


def test_a_token_for_the_public_address(http: httpx.Client, app: FakeApp) -> None:
    """Behind a proxy that renames the host, a token for the public address opens."""
    app.public_url = "https://grid.example"
    token = sas("https://grid.example/topics/songs/api/events")
    stranger = sas("https://other.example/topics/songs/api/events")

    assert http.post(PATH, json=[EVENT], headers={"aeg-sas-token": token}).status_code == 200
    assert http.post(PATH, json=[EVENT], headers={"aeg-sas-token": stranger}).status_code == 401


def sas(url: str) -> str:
    return generate_sas(url, KEY1, datetime.now(UTC) + timedelta(hours=1))


def test_invalid_events(http: httpx.Client, app: FakeApp) -> None:
    """Bad JSON, a missing field and an empty array are refused as a whole, and counted."""
    headers = {"aeg-sas-key": KEY1}
    no_subject = {name: value for name, value in EVENT.items() if name != "subject"}
    bad = [b"{", msgspec.json.encode([EVENT, no_subject]), b"[]"]

    codes = [error(http.post(PATH, content=body, headers=headers)) for body in bad]

    assert codes == [(400, "BadRequest", "InputJsonInvalid")] * 3
    assert app.grid.published == []
    assert app.rejected == {"songs": 3}


def test_content_types_of_cloud_events(http: httpx.Client) -> None:
    """A topic of CloudEvents refuses another content type with 415."""
    headers = {"aeg-sas-key": KEY1, "content-type": "text/plain"}

    answer = http.post("/topics/clouds/api/events", content=b"x", headers=headers)

    assert error(answer) == (415, "UnsupportedMediaType", "InvalidContentType")


def test_a_request_above_the_bound(http: httpx.Client) -> None:
    """A body above 1,536,000 bytes is 413, and the message names the bound."""
    headers = {"aeg-sas-key": KEY1}
    at_bound = http.post(PATH, content=b" " * 1_536_000, headers=headers)
    above = http.post(PATH, content=b" " * 1_536_001, headers=headers)

    assert at_bound.status_code == 400
    assert error(above) == (413, "RequestEntityTooLarge", "PayloadTooLarge")
    assert "1536000" in above.json()["error"]["message"]


@pytest.mark.parametrize("is_late", [False, True])
def test_overload(http: httpx.Client, app: FakeApp, is_late: bool) -> None:
    """What cannot be kept, now or at the commit, is 503 with Retry-After, never 200."""
    app.grid.failure = Overloaded("EP3004", "The store is behind.", retry_after_s=7)
    app.grid.is_failing_late = is_late

    answer = published(http)

    assert error(answer) == (503, "ServiceUnavailable", "ServiceUnavailable")
    assert answer.headers["retry-after"] == "7"
    assert app.grid.published == []


def test_a_built_in_topic_takes_nothing_from_outside(http: httpx.Client) -> None:
    """Nobody but eventpost publishes to a topic of its own, even with its key."""
    answer = published(http, "/topics/eventpost.deadletters/api/events")

    assert error(answer) == (403, "Forbidden", "Forbidden")


def test_the_trace_of_a_request_goes_with_its_events(http: httpx.Client, app: FakeApp) -> None:
    """traceparent and tracestate of the publish are kept with each event; without them, nothing."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    published(http, traceparent=parent, tracestate="a=b")
    published(http)

    assert [event.trace for event in app.grid.published] == [(parent, "a=b"), None]


def test_malformed_http_is_refused_in_event_grids_form(http: httpx.Client) -> None:
    """What the HTTP server refuses itself has Event Grid's error body too."""
    answer = http.post(PATH + "?" + "x" * 9_000, json=[EVENT])

    assert error(answer)[0] == 414


def test_malformed_requests_to_the_api_get_a_problem(http: httpx.Client) -> None:
    """What the HTTP server refuses of a management request is a problem document."""
    answer = http.post("/admin/v1/topics", content=b" " * 1_600_000)

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"]


def test_the_official_client_publishes(http: httpx.Client, app: FakeApp) -> None:
    """azure-eventgrid publishes unchanged, with a key."""
    url = f"{http.base_url}{PATH}"
    with EventGridPublisherClient(url, AzureKeyCredential(KEY1)) as client:
        client.send([EVENT, EVENT])

    assert [event.id for event in app.grid.published] == ["1", "1"]


def test_request_ids_never_repeat() -> None:
    """Ten thousand answers have ten thousand ids, refusals between them included."""
    answers = PublishAnswers()
    request = Request(b"POST", PATH.encode(), b"", {})
    found: set[str] = set()
    for number in range(10_000):
        raw = answers.not_found(request) if number % 7 == 0 else answers.success(request)
        found.add(GUID.search(raw.decode())[0])  # type: ignore[index]  # each answer has one

    assert len(found) == 10_000
