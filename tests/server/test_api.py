"""The management API, over real sockets."""

import json
from typing import Any

import httpx
import msgspec
import pytest

from eventpost.core.errors import Overloaded
from eventpost.core.events import Event
from eventpost.core.interfaces import AttemptRecord
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.server import api
from tests.server.fake import TOKEN, FakeApp, Health, dead_letter

BLUES = {
    "name": "blues",
    "topic": "songs",
    "endpoint": "https://station.example/api?code=s3cret",
    "filter": {"subjectBeginsWith": "genre/"},
    "deliveryAttributeMappings": [{"name": "x-token", "value": "t0p", "isSecret": True}],
}


@pytest.fixture
def songs(admin: httpx.Client) -> httpx.Client:
    """The client, with a topic `songs` and a subscription `blues` there."""
    assert admin.post("/topics", json={"name": "songs"}).status_code == 201
    assert admin.post("/subscriptions", json=BLUES).status_code == 201
    return admin


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert all(document[name] for name in ("type", "title", "code", "detail"))
    return document


# --- who may ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", "Bearer wrong", "Basic x", f"Bearer {TOKEN}x", TOKEN])
def test_nothing_without_the_token(http: httpx.Client, value: str) -> None:
    """Every management route refuses a missing or wrong token, saying where to find it."""
    headers = {"Authorization": value} if value else {}
    for operation in api.operations():
        answer = http.request(operation.method, operation.path, headers=headers)

        document = problem(answer, 401)
        assert document["code"] == "EP1020"
        assert "admin-token" in document["fix"]
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_scheme_in_any_case(http: httpx.Client) -> None:
    """`bearer` is read as `Bearer`."""
    assert http.get("/admin/v1/topics", headers={"Authorization": f"bearer {TOKEN}"}).is_success


def test_metrics_are_open_to_this_machine_only(http: httpx.Client, app: FakeApp) -> None:
    """A scrape from loopback is answered; one that came through a proxy needs the token."""
    assert http.get("/metrics").text.startswith("eventpost_")
    forwarded = {"X-Forwarded-For": "203.0.113.9"}
    problem(http.get("/metrics", headers=forwarded), 401)
    with_token = forwarded | {"Authorization": f"Bearer {TOKEN}"}
    assert http.get("/metrics", headers=with_token).is_success

    public = msgspec.structs.replace(app.settings.metrics, public=True)
    app.settings = msgspec.structs.replace(app.settings, metrics=public)
    assert http.get("/metrics", headers=forwarded).is_success


# --- topics -------------------------------------------------------------------------------------


def test_a_topics_life(admin: httpx.Client) -> None:
    """A topic is created, shown, listed, and deleted."""
    created = admin.post("/topics", json={"name": "songs", "inputSchema": "CloudEventSchemaV1_0"})

    assert created.status_code == 201
    topic = created.json()
    assert topic["inputSchema"] == "cloudeventschemav1_0"
    assert topic["endpoint"].endswith("/topics/songs/api/events")
    assert topic["id"].endswith("/providers/Microsoft.EventGrid/topics/songs")
    assert "key1" not in topic
    assert admin.get("/topics/songs").json() == topic
    names = [each["name"] for each in admin.get("/topics").json()["value"]]
    assert names == ["eventpost.deadletters", "songs"]
    assert admin.delete("/topics/songs").status_code == 204
    assert problem(admin.get("/topics/songs"), 404)["code"] == "TopicNotFound"


def test_a_topic_exists_once(admin: httpx.Client) -> None:
    """A second topic of the same name is a conflict."""
    admin.post("/topics", json={"name": "songs"})

    assert problem(admin.post("/topics", json={"name": "songs"}), 409)["code"] == "TopicExists"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"name": "a b c"}, "cannot name a topic"),
        ({"name": "songs", "inputSchema": "xml"}, "no schema"),
        ({"name": "songs", "inputShema": "x"}, "inputShema is not a known field"),
        ({"name": 7}, "expected str, got int"),
    ],
)
def test_topics_that_cannot_be(admin: httpx.Client, body: object, says: str) -> None:
    """A wrong declaration is refused with the field in the detail and a fix."""
    document = problem(admin.post("/topics", json=body), 400)

    assert says in document["detail"]
    assert document["fix"]


def test_keys_are_shown_by_their_routes_alone(songs: httpx.Client) -> None:
    """Keys are listed and regenerated one at a time."""
    keys = songs.get("/topics/songs/keys").json()
    assert set(keys) == {"key1", "key2"}

    renewed = songs.post("/topics/songs/keys/regenerate", json={"keyName": "key1"}).json()

    assert renewed["key1"] != keys["key1"]
    assert renewed["key2"] == keys["key2"]


def test_publishing_as_administrator(songs: httpx.Client) -> None:
    """Events are taken with the admin token, checked as on the data plane."""
    event = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z"}

    assert songs.post("/topics/songs/publish", json=[event, event]).json() == {"eventCount": 2}
    refused = problem(songs.post("/topics/songs/publish", json=[{"id": "1"}]), 400)
    assert "subject" in refused["detail"]


# --- subscriptions ------------------------------------------------------------------------------


def test_a_subscription_is_shown_without_its_secrets(songs: httpx.Client) -> None:
    """What is declared is shown, defaults included; secrets are not."""
    answer = songs.get("/subscriptions/blues")
    shown = answer.json()

    assert "s3cret" not in answer.text
    assert "t0p" not in answer.text
    assert shown["endpoint"] == "https://station.example/api?code=***"
    assert shown["filter"]["subjectBeginsWith"] == "genre/"
    assert shown["retry"]["maxDeliveryAttempts"] == 30
    assert shown["retry"]["eventTtlMinutes"] == 1440
    assert shown["provisioningState"] == "Succeeded"
    assert shown["books"]["matched"] == 9


def test_the_books_of_a_subscription_balance(songs: httpx.Client) -> None:
    """matched + replayed = delivered + deadLettered + dropped + pending, in what is answered."""
    books = songs.get("/report").json()["subscriptions"][0]

    assert books["matched"] + books["replayed"] == (
        books["delivered"]
        + sum(books["deadLettered"].values())
        + sum(books["dropped"].values())
        + books["pending"]
    )


def test_failures_carry_their_finding(songs: httpx.Client, app: FakeApp) -> None:
    """The latest failures of a subscription say cause and fix in the catalogue's words."""
    evidence = Evidence(stage=Stage.CONNECT, fault=Fault.REFUSED, elapsed_ms=2, errno=111)
    app.failures = [
        AttemptRecord(
            topic_id=2,
            subscription_id=7,
            partition=0,
            position=4,
            attempt=1,
            at_ms=1_000,
            finding="EP2004",
            evidence=evidence,
            next_ms=11_000,
        )
    ]

    (failure,) = songs.get("/subscriptions/blues").json()["lastFailures"]

    assert failure["finding"] == "EP2004"
    assert failure["cause"]
    assert failure["fix"]
    assert failure["evidence"] == {
        "stage": "connect",
        "fault": "refused",
        "elapsedMs": 2,
        "errno": 111,
    }
    assert failure["nextAttemptTime"] == "1970-01-01T00:00:11.000Z"


def test_the_full_url_is_asked_for_by_name(songs: httpx.Client) -> None:
    """One route shows the endpoint's query, as Event Grid's getFullUrl does."""
    answer = songs.get("/subscriptions/blues/full-url").json()

    assert answer == {"endpointUrl": "https://station.example/api?code=s3cret"}


def test_a_patch_keeps_the_rest(songs: httpx.Client) -> None:
    """A change of one field keeps the others, secrets included."""
    changed = songs.patch("/subscriptions/blues", json={"retry": {"maxDeliveryAttempts": 3}})

    assert changed.json()["retry"]["maxDeliveryAttempts"] == 3
    assert changed.json()["filter"]["subjectBeginsWith"] == "genre/"
    full = songs.get("/subscriptions/blues/full-url").json()
    assert full["endpointUrl"].endswith("code=s3cret")


def test_what_was_shown_can_be_put_back(songs: httpx.Client) -> None:
    """Replacing a subscription with what was shown of it changes nothing."""
    shown = songs.get("/subscriptions/blues").json()

    answer = songs.put("/subscriptions/blues", json=shown)

    assert answer.status_code == 200, answer.text
    assert answer.json()["endpoint"] == shown["endpoint"]
    assert answer.json()["filter"] == shown["filter"]
    problem(songs.put("/subscriptions/blues", json=shown | {"unknown": 1}), 400)
    full = songs.get("/subscriptions/blues/full-url").json()
    assert full["endpointUrl"].endswith("code=s3cret")


def test_a_subscription_keeps_its_name(songs: httpx.Client) -> None:
    """Neither name nor topic can be changed."""
    problem(songs.patch("/subscriptions/blues", json={"name": "jazz"}), 400)
    problem(songs.put("/subscriptions/blues", json=BLUES | {"topic": "other"}), 400)


def test_a_refused_handshake(songs: httpx.Client) -> None:
    """The problem names the finding; nothing is kept."""
    body = BLUES | {"name": "jazz", "endpoint": "https://refusing.example/"}

    document = problem(songs.post("/subscriptions", json=body), 400)

    assert document["code"] == "EP2601"
    assert document["fix"] == "Answer with the code."
    assert problem(songs.get("/subscriptions/jazz"), 404)


def test_an_ambiguous_name_needs_its_topic(songs: httpx.Client) -> None:
    """A name that two topics have is a conflict until the topic is given."""
    songs.post("/topics", json={"name": "albums"})
    songs.post("/subscriptions", json=BLUES | {"topic": "albums"})

    problem(songs.get("/subscriptions/blues"), 409)
    assert songs.get("/subscriptions/blues?topic=albums").json()["topic"] == "albums"
    listed = songs.get("/subscriptions?topic=albums").json()["value"]
    assert [each["topic"] for each in listed] == ["albums"]
    assert len(songs.get("/subscriptions").json()["value"]) == 2


def test_pause_and_resume(songs: httpx.Client) -> None:
    """Both answer the subscription as it is then."""
    assert songs.post("/subscriptions/blues/pause").json()["isPaused"] is True
    assert songs.post("/subscriptions/blues/resume").json()["isPaused"] is False


@pytest.mark.parametrize(
    ("to", "position"),
    [(5, 5), ("5", 5), ("earliest", 0), ("2026-01-01T00:00:00Z", 77), ("now", 77)],
)
def test_rewind(songs: httpx.Client, to: object, position: int) -> None:
    """The cursor is moved to a position, a time, the earliest event, or now."""
    answer = songs.post("/subscriptions/blues/rewind", json={"to": to})

    assert answer.json() == {"position": position}


def test_rewind_to_nowhere(songs: httpx.Client) -> None:
    """What is neither a position nor a time is refused."""
    problem(songs.post("/subscriptions/blues/rewind", json={"to": "whenever"}), 400)


def test_explaining_a_match(songs: httpx.Client) -> None:
    """Each clause says whether it is met, what it found, and why not."""
    event = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z"}

    answer = songs.post("/subscriptions/blues/test", json=event).json()

    assert answer["isMatch"] is False
    assert [clause["isMet"] for clause in answer["clauses"]] == [True, False]
    assert answer["clauses"][1]["why"] == "missing"


def test_deleting_a_subscription(songs: httpx.Client) -> None:
    """It is gone afterwards."""
    assert songs.delete("/subscriptions/blues").status_code == 204
    problem(songs.get("/subscriptions/blues"), 404)


# --- dead letters -------------------------------------------------------------------------------


def test_dead_letters_come_in_pages(songs: httpx.Client, app: FakeApp) -> None:
    """Each page leads to the next; the last one does not."""
    app.letters = {number: dead_letter(number) for number in range(1, 6)}

    first = songs.get("/deadletters?limit=3").json()
    second = songs.get(first["nextLink"].removeprefix("/admin/v1")).json()

    assert [each["id"] for each in first["value"]] == ["1", "2", "3"]
    assert [each["id"] for each in second["value"]] == ["4", "5"]
    assert second["nextLink"] is None
    assert first["value"][0]["subscription"] == "blues"
    assert first["value"][0]["cause"]
    assert first["value"][0]["event"] is None


@pytest.mark.parametrize(("limit", "status"), [(0, 400), (1, 200), (1_000, 200), (1_001, 400)])
def test_the_bound_of_a_page(songs: httpx.Client, limit: int, status: int) -> None:
    """A page holds 1 to 1,000."""
    assert songs.get(f"/deadletters?limit={limit}").status_code == status


def test_one_dead_letter_with_its_event(songs: httpx.Client, app: FakeApp) -> None:
    """A single one is shown with its event; an unknown one is not found."""
    app.letters = {5: dead_letter(5)}

    shown = songs.get("/deadletters/5").json()

    assert shown["event"] == {"id": "5"}
    assert shown["deadLetterReason"] == "MaxDeliveryAttemptsExceeded"
    assert shown["evidence"]["stage"] == "connect"
    problem(songs.get("/deadletters/6"), 404)
    problem(songs.get("/deadletters/x"), 400)


def test_counting_by_selection(songs: httpx.Client, app: FakeApp) -> None:
    """A count takes the same selection; an unknown subscription in it is not found."""
    app.letters = {5: dead_letter(5)}

    assert songs.get("/deadletters/count?subscription=blues&since=2h").json() == {"count": 1}
    problem(songs.get("/deadletters/count?subscription=jazz"), 404)


@pytest.mark.parametrize("verb", ["replay", "purge"])
def test_progress_is_streamed(songs: httpx.Client, app: FakeApp, verb: str) -> None:
    """Each step is a line of its own; the last one says that it is finished."""
    app.letters = {number: dead_letter(number) for number in (1, 2)}

    answer = songs.post(f"/deadletters/{verb}", json={"subscription": "blues"})

    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["done"] for line in lines] == [1, 2, 2]
    assert [line["isFinished"] for line in lines] == [False, False, True]
    assert lines[-1]["total"] == 2


@pytest.mark.parametrize("verb", ["replay", "purge"])
def test_a_dry_run_does_nothing(songs: httpx.Client, app: FakeApp, verb: str) -> None:
    """It only says how many there are."""
    app.letters = {1: dead_letter(1)}

    lines = songs.post(f"/deadletters/{verb}", json={"dryRun": True}).text.splitlines()

    assert [json.loads(line)["done"] for line in lines] == [0]


def test_a_stream_that_fails_says_so(songs: httpx.Client, app: FakeApp) -> None:
    """An error after the stream began is its last line, as a problem."""
    app.letters = {1: dead_letter(1)}
    app.error = Overloaded("EP3003", "The store failed.")

    lines = songs.post("/deadletters/purge", json={}).text.splitlines()

    assert json.loads(lines[-1])["problem"]["code"] == "EP3003"


# --- events, store, server ----------------------------------------------------------------------


def test_tail(songs: httpx.Client, app: FakeApp) -> None:
    """Events are streamed as they come, as NDJSON or as server-sent events."""
    app.tailed = [(4, 1_000, Event("1", "T", "s", b'{"id":"1"}'))]

    lines = songs.get("/topics/songs/tail").text
    events = songs.get("/topics/songs/tail", headers={"Accept": "text/event-stream"})

    expected = {"position": 4, "publishTime": "1970-01-01T00:00:01.000Z", "event": {"id": "1"}}
    assert json.loads(lines) == expected
    assert events.headers["content-type"].startswith("text/event-stream")
    assert events.text == f"data: {lines.strip()}\n\n"
    problem(songs.get("/topics/albums/tail"), 404)


def test_an_events_story(songs: httpx.Client) -> None:
    """An event is found by its id, slashes included."""
    (story,) = songs.get("/events/a%2Fb/trace?since=1h").json()["value"]

    assert story["eventId"] == "a/b"
    assert story["publishTime"] == "1970-01-01T00:00:01.000Z"


def test_the_store(songs: httpx.Client) -> None:
    """Usage, damage and the size of a backup are told."""
    assert songs.get("/store/usage").json()["eventCount"] == 9
    verified = songs.post("/store/verify").json()
    assert verified == {"isIntact": False, "damage": ["segment 3 of songs"]}
    assert songs.post("/store/backup", json={"path": "/b"}).json() == {"path": "/b", "bytes": 123}
    assert "relative" in problem(songs.post("/store/backup", json={"path": "b"}), 400)["detail"]


def test_the_configuration_hides_passwords(songs: httpx.Client, app: FakeApp) -> None:
    """Every setting is listed with its default; the password in a URL is masked."""
    network = msgspec.structs.replace(app.settings.network, proxies="http://u:pw@proxy:1")
    app.settings = msgspec.structs.replace(app.settings, network=network)

    settings = {each["name"]: each for each in songs.get("/config").json()["value"]}

    assert settings["network.proxies"]["value"] == "http://u:***@proxy:1"
    assert settings["metrics.public"]["default"] is False


def test_health(http: httpx.Client, admin: httpx.Client, app: FakeApp) -> None:
    """Probes fail with their worker; what is wrong is said to this machine, not to strangers."""
    assert http.get("/healthz").json()["status"] == "ok"

    app.checks = [Health("store", False, "fdatasync failed")]

    for path in ("/healthz", "/readyz"):
        answer = http.get(path)
        assert answer.status_code == 503
        assert answer.json()["checks"][0]["detail"] == "fdatasync failed"
        stranger = http.get(path, headers={"X-Forwarded-For": "203.0.113.9"})
        assert stranger.json() == {"status": "failing", "checks": []}
    assert admin.get("/health").json()["status"] == "failing"
    assert admin.get("/status").json()["health"]["status"] == "failing"


def test_a_full_store_is_not_ready_but_alive(http: httpx.Client, app: FakeApp) -> None:
    """Restarting makes no room, so only readiness fails."""
    app.checks = [Health("store-room", False, "byte limit reached")]

    assert http.get("/readyz").status_code == 503
    assert http.get("/healthz").status_code == 200


def test_validation_by_hand(http: httpx.Client) -> None:
    """The right address validates, by GET and by POST; a wrong one and a mere look do not."""
    assert http.get("/validate/right").is_success
    assert http.post("/validate/right").is_success
    assert problem(http.get("/validate/wrong"), 404)["code"] == "ValidationNotFound"
    assert http.head("/validate/wrong").status_code == 200


# --- errors -------------------------------------------------------------------------------------


def test_an_unknown_route(admin: httpx.Client) -> None:
    """A wrong path is a problem that names the nearest route."""
    document = problem(admin.get("/topic"), 404)

    assert "/admin/v1/topics" in document["fix"]


def test_a_wrong_method(admin: httpx.Client) -> None:
    """A wrong method is a problem that names the right ones."""
    answer = admin.put("/topics", json={})

    assert "GET, POST" in problem(answer, 405)["fix"]
    assert answer.headers["allow"] == "GET, POST"


def test_invalid_json(admin: httpx.Client) -> None:
    """A body that is no JSON is refused with its place."""
    document = problem(admin.post("/topics", content=b'{\n "name": songs}'), 400)

    assert document["code"] == "InvalidJson"
    assert "line 2, column 10" in document["detail"]


def test_an_unknown_query_parameter(admin: httpx.Client) -> None:
    """A parameter that is not known is refused, not ignored, with the nearest known."""
    document = problem(admin.get("/deadletters?subscripton=x"), 400)

    assert "'subscription'" in document["fix"]
    problem(admin.get("/topics?x=1"), 400)


@pytest.mark.parametrize(("size", "status"), [(3_999, 400), (4_000, 400), (4_001, 413)])
def test_the_bound_of_a_body(admin: httpx.Client, size: int, status: int) -> None:
    """A body above its bound is 413, at it it is read."""
    problem(admin.post("/topics", content=b" " * size), status)


@pytest.mark.parametrize(("size", "status"), [(7_999, 400), (8_000, 400), (8_001, 413)])
def test_the_bound_of_events(songs: httpx.Client, size: int, status: int) -> None:
    """Bodies that carry events have a bound of their own."""
    problem(songs.post("/topics/songs/publish", content=b" " * size), status)


def test_a_fault_of_ours(admin: httpx.Client, app: FakeApp) -> None:
    """An unexpected exception is a problem without its text, and logged."""
    app.error = RuntimeError("a secret")

    answer = admin.get("/topics")

    assert "secret" not in answer.text
    assert problem(answer, 500)["code"] == "EP9001"


def test_overload_says_when_to_come_back(admin: httpx.Client, app: FakeApp) -> None:
    """A store that is behind answers 503 with Retry-After."""
    app.error = Overloaded("EP3003", "The store failed.", retry_after_s=2)

    answer = admin.get("/topics")

    assert problem(answer, 503)["code"] == "EP3003"
    assert answer.headers["retry-after"] == "2"


def test_answers_are_not_cached(songs: httpx.Client) -> None:
    """Keys and states stay in no cache."""
    assert songs.get("/topics/songs/keys").headers["cache-control"] == "no-store"
