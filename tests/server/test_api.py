"""The management API of a whole server, over real sockets."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventpost.app.application import Health
from eventpost.config.settings import MetricsSettings, NetworkSettings, Settings
from eventpost.server import api
from eventpost.server.routes import API_PREFIX
from eventpost.testing import Receiver
from tests.server.running import EVENT, Served, served, until


@pytest.fixture
def blues(webhook: Receiver) -> dict[str, Any]:
    """A declaration with secrets in it."""
    return {
        "name": "blues",
        "topic": "songs",
        "endpoint": f"{webhook.url}?code=s3cret",
        "filter": {"subjectBeginsWith": "genre/"},
        "deliveryAttributeMappings": [{"name": "x-token", "value": "t0p", "isSecret": True}],
    }


@pytest.fixture
def songs(admin: httpx.Client, blues: dict[str, Any]) -> httpx.Client:
    """The client, with a topic `songs` and a subscription `blues` there."""
    assert admin.post("/topics", json={"name": "songs"}).status_code == 201
    created = admin.post("/subscriptions", json=blues)
    assert created.status_code == 201, created.text
    return admin


@pytest.fixture
def dead(songs: httpx.Client, webhook: Receiver) -> list[str]:
    """The ids of five dead letters."""
    webhook.always = 400
    events = [EVENT | {"id": f"event-{number}"} for number in range(5)]
    songs.post("/topics/songs/publish", json=events)
    until(lambda: count(songs) == 5)
    webhook.always = 200
    return [letter["id"] for letter in songs.get("/deadletters").json()["value"]]


def count(client: httpx.Client) -> int:
    found: int = client.get("/deadletters/count").json()["count"]
    return found


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert all(document[name] for name in ("type", "title", "code", "detail"))
    return document


# --- who may ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", "Bearer wrong", "Basic {}", "Bearer {}x", "{}"])
def test_nothing_without_the_token(http: httpx.Client, server: Served, value: str) -> None:
    """Every management route refuses a missing or wrong token, saying where to find it."""
    headers = {"Authorization": value.format(server.token)} if value else {}
    for operation in api.operations():
        answer = http.request(operation.method, operation.path, headers=headers)

        document = problem(answer, 401)
        assert document["code"] == "EP1020"
        assert "admin-token" in document["fix"]
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_scheme_in_any_case(http: httpx.Client, server: Served) -> None:
    """`bearer` is read as `Bearer`."""
    headers = {"Authorization": f"bearer {server.token}"}
    assert http.get("/admin/v1/topics", headers=headers).is_success


def test_metrics_are_open_to_this_machine_only(http: httpx.Client, server: Served) -> None:
    """A scrape from loopback is answered; through a proxy or by a stranger's name it needs the
    token."""
    assert "eventpost_matched_events_total" in http.get("/metrics").text
    assert http.get("/metrics", headers={"Host": "localhost:1"}).is_success
    for strange in ({"X-Forwarded-For": "203.0.113.9"}, {"Host": "rebound.example"}):
        problem(http.get("/metrics", headers=strange), 401)
        with_token = strange | {"Authorization": f"Bearer {server.token}"}
        assert http.get("/metrics", headers=with_token).is_success


def test_metrics_are_open_where_a_setting_says_so(tmp_path: Path) -> None:
    """With `metrics.public` a scrape from elsewhere needs no token."""
    settings = Settings(metrics=MetricsSettings(public=True))
    with served(tmp_path, settings) as server, server.http() as http:
        assert http.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).is_success


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


def test_publishing_as_administrator(songs: httpx.Client, webhook: Receiver) -> None:
    """Events are taken with the admin token, checked as on the data plane, and delivered."""
    answer = songs.post("/topics/songs/publish", json=[EVENT, EVENT])

    assert answer.json() == {"eventCount": 2}
    assert len(webhook.wait_for_events(2)) == 2
    refused = problem(songs.post("/topics/songs/publish", json=[{"id": "1"}]), 400)
    assert "subject" in refused["detail"]


# --- subscriptions ------------------------------------------------------------------------------


def test_a_subscription_is_shown_without_its_secrets(
    songs: httpx.Client, webhook: Receiver
) -> None:
    """What is declared is shown, defaults included; secrets are not."""
    answer = songs.get("/subscriptions/blues")
    shown = answer.json()

    assert "s3cret" not in answer.text
    assert "t0p" not in answer.text
    assert shown["endpoint"] == f"{webhook.url}?code=***"
    assert shown["filter"]["subjectBeginsWith"] == "genre/"
    assert shown["retry"]["maxDeliveryAttempts"] == 30
    assert shown["retry"]["eventTtlMinutes"] == 1440
    assert shown["provisioningState"] == "Succeeded"
    assert shown["books"]["matched"] == 0


def test_the_books_of_a_subscription_balance(songs: httpx.Client, dead: list[str]) -> None:
    """matched + replayed = delivered + deadLettered + dropped + pending, in what is answered."""
    report = songs.get("/report").json()
    books = report["subscriptions"][0]

    assert books["matched"] == 5
    assert books["deadLettered"] == {"UndeliverableDueToHttpBadRequest": 5}
    assert books["matched"] + books["replayed"] == (
        books["delivered"]
        + sum(books["deadLettered"].values())
        + sum(books["dropped"].values())
        + books["pending"]
    )
    assert {each["topic"]: each["published"] for each in report["topics"]}["songs"] == 5


def test_failures_carry_their_finding(songs: httpx.Client, webhook: Receiver) -> None:
    """The latest failures of a subscription say cause and fix in the catalogue's words."""
    webhook.always = 500
    songs.post("/topics/songs/publish", json=EVENT)
    until(lambda: bool(songs.get("/subscriptions/blues").json()["lastFailures"]))

    (failure,) = songs.get("/subscriptions/blues").json()["lastFailures"]

    assert failure["finding"] == "EP2500"
    assert failure["cause"]
    assert failure["fix"]
    assert failure["evidence"]["stage"] == "answer"
    assert failure["evidence"]["status"] == 500
    assert failure["attempt"] == 1
    assert failure["nextAttemptTime"] > failure["time"]


def test_the_full_url_is_asked_for_by_name(songs: httpx.Client, webhook: Receiver) -> None:
    """One route shows the endpoint's query, as Event Grid's getFullUrl does."""
    answer = songs.get("/subscriptions/blues/full-url").json()

    assert answer == {"endpointUrl": f"{webhook.url}?code=s3cret"}


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


def test_a_subscription_keeps_its_name(songs: httpx.Client, blues: dict[str, Any]) -> None:
    """Neither name nor topic can be changed."""
    problem(songs.patch("/subscriptions/blues", json={"name": "jazz"}), 400)
    problem(songs.put("/subscriptions/blues", json=blues | {"topic": "other"}), 400)


def test_a_refused_handshake(songs: httpx.Client, blues: dict[str, Any], webhook: Receiver) -> None:
    """The problem names the finding, its cause and fix; nothing is kept."""
    webhook.consent = False

    document = problem(songs.post("/subscriptions", json=blues | {"name": "jazz"}), 400)

    assert document["code"].startswith("EP26")
    assert document["fix"]
    assert "s3cret" not in document["detail"]
    problem(songs.get("/subscriptions/jazz"), 404)


def test_a_handshake_by_hand(
    songs: httpx.Client, blues: dict[str, Any], webhook: Receiver, http: httpx.Client
) -> None:
    """Without the code the state waits for the validation URL, which a mere look does not open."""
    webhook.consent = None
    created = songs.post("/subscriptions", json=blues | {"name": "jazz"}).json()
    assert created["provisioningState"] == "AwaitingManualAction"
    assert created["validationDeadline"] > created["createdTime"]

    http.head(webhook.validation_url)
    waiting = songs.get("/subscriptions/jazz").json()["provisioningState"]
    opened = http.get(webhook.validation_url)

    assert waiting == "AwaitingManualAction"
    assert opened.is_success
    assert songs.get("/subscriptions/jazz").json()["provisioningState"] == "Succeeded"
    assert problem(http.get(webhook.validation_url), 404)["code"] == "ValidationNotFound"


def test_an_ambiguous_name_needs_its_topic(songs: httpx.Client, blues: dict[str, Any]) -> None:
    """A name that two topics have is a conflict until the topic is given."""
    songs.post("/topics", json={"name": "albums"})
    songs.post("/subscriptions", json=blues | {"topic": "albums"})

    problem(songs.get("/subscriptions/blues"), 409)
    assert songs.get("/subscriptions/blues?topic=albums").json()["topic"] == "albums"
    listed = songs.get("/subscriptions?topic=albums").json()["value"]
    assert [each["topic"] for each in listed] == ["albums"]
    assert len(songs.get("/subscriptions").json()["value"]) == 2


def test_a_subscription_needs_a_topic(songs: httpx.Client, blues: dict[str, Any]) -> None:
    """Without a topic, or with an unknown one, nothing is created."""
    del blues["topic"]

    assert "topic" in problem(songs.post("/subscriptions", json=blues), 400)["detail"]
    problem(songs.post("/subscriptions", json=blues | {"topic": "albums"}), 404)


def test_pause_and_resume(songs: httpx.Client) -> None:
    """Both answer the subscription as it is then."""
    assert songs.post("/subscriptions/blues/pause").json()["isPaused"] is True
    assert songs.post("/subscriptions/blues/resume").json()["isPaused"] is False


@pytest.mark.parametrize(
    ("to", "position"),
    [(1, 1), ("1", 1), ("earliest", 0), ("2026-01-01T00:00:00Z", 0), ("1h", 0), ("now", 2)],
)
def test_rewind(songs: httpx.Client, webhook: Receiver, to: object, position: int) -> None:
    """The cursor is moved to a position, a time, an age, the earliest event, or now."""
    songs.post("/topics/songs/publish", json=[EVENT, EVENT])
    webhook.wait_for(2)

    answer = songs.post("/subscriptions/blues/rewind", json={"to": to})

    assert answer.json() == {"position": position}
    webhook.wait_for(2 + 2 - position)


def test_rewind_to_nowhere(songs: httpx.Client) -> None:
    """What is neither a position nor a time is refused."""
    problem(songs.post("/subscriptions/blues/rewind", json={"to": "whenever"}), 400)
    problem(songs.post("/subscriptions/blues/rewind", json={"to": 99}), 400)


def test_explaining_a_match(songs: httpx.Client) -> None:
    """Each clause says whether it is met, what it found, and why not."""
    met = songs.post("/subscriptions/blues/test", json=EVENT).json()
    not_met = songs.post("/subscriptions/blues/test", json=EVENT | {"subject": "jazz"}).json()

    assert met["isMatch"] is True
    assert not_met["isMatch"] is False
    (clause,) = not_met["clauses"]
    assert (clause["isMet"], clause["found"]) == (False, '"jazz"')
    assert clause["why"]


def test_deleting_a_subscription(songs: httpx.Client) -> None:
    """It is gone afterwards."""
    assert songs.delete("/subscriptions/blues").status_code == 204
    problem(songs.get("/subscriptions/blues"), 404)


# --- dead letters -------------------------------------------------------------------------------


def test_dead_letters_come_in_pages(songs: httpx.Client, dead: list[str]) -> None:
    """Each page leads to the next; the last one does not."""
    first = songs.get("/deadletters?limit=3&subscription=blues").json()
    second = songs.get(first["nextLink"].removeprefix(API_PREFIX)).json()

    assert [each["id"] for each in first["value"]] == dead[:3]
    assert [each["id"] for each in second["value"]] == dead[3:]
    assert second["nextLink"] is None
    letter = first["value"][0]
    assert (letter["subscription"], letter["topic"]) == ("blues", "songs")
    assert letter["cause"]
    assert letter["event"] is None


@pytest.mark.parametrize(("limit", "status"), [(0, 400), (1, 200), (1_000, 200), (1_001, 400)])
def test_the_bound_of_a_page(songs: httpx.Client, limit: int, status: int) -> None:
    """A page holds 1 to 1,000."""
    assert songs.get(f"/deadletters?limit={limit}").status_code == status


@pytest.mark.parametrize(("number", "status"), [(999, 200), (1_000, 200), (1_001, 400)])
def test_the_bound_of_chosen_ids(songs: httpx.Client, number: int, status: int) -> None:
    """At most 1,000 dead letters are chosen by their ids in one request."""
    body = {"ids": [str(each) for each in range(1, number + 1)], "dryRun": True}

    assert songs.post("/deadletters/purge", json=body).status_code == status


def test_one_dead_letter_with_its_event(songs: httpx.Client, dead: list[str]) -> None:
    """A single one is shown with its event; an unknown one is not found."""
    shown = songs.get(f"/deadletters/{dead[0]}").json()

    assert shown["event"]["data"] == EVENT["data"]
    assert shown["deadLetterReason"] == "UndeliverableDueToHttpBadRequest"
    assert shown["lastHttpStatusCode"] == 400
    assert shown["evidence"]["stage"] == "answer"
    problem(songs.get("/deadletters/1"), 404)
    problem(songs.get("/deadletters/x"), 400)


def test_counting_by_selection(songs: httpx.Client, dead: list[str]) -> None:
    """A count takes the same selection; an unknown subscription in it is not found."""
    for query, number in {
        "subscription=blues&since=2h": 5,
        "until=2h": 0,
        f"ids={dead[0]}&ids={dead[1]}": 2,
        "reason=TimeToLiveExceeded": 0,
        "finding=EP2400": 5,
        "replayed=true": 0,
        "topic=songs": 5,
    }.items():
        assert songs.get(f"/deadletters/count?{query}").json() == {"count": number}, query
    problem(songs.get("/deadletters/count?subscription=jazz"), 404)


def progress(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_replay_tells_how_far_it_is(
    songs: httpx.Client, dead: list[str], webhook: Receiver
) -> None:
    """Chosen dead letters are delivered again; the stream ends with a line that says so."""
    lines = progress(songs.post("/deadletters/replay", json={"ids": dead[:2]}))

    assert lines[-1] == {"done": 2, "total": 2, "isFinished": True}
    assert [line["isFinished"] for line in lines[:-1]] == [False] * (len(lines) - 1)
    webhook.wait_for(5 + 2)
    assert count(songs) == 3
    assert songs.get("/deadletters/count?replayed=true").json() == {"count": 2}


def test_a_paced_replay(songs: httpx.Client, dead: list[str]) -> None:
    """At a rate it goes by small steps, each with its line."""
    lines = progress(songs.post("/deadletters/replay", json={"rate": "100/s"}))

    assert lines[-1]["done"] == 5
    problem(songs.post("/deadletters/replay", json={"rate": "fast"}), 400)


def test_purge(songs: httpx.Client, dead: list[str]) -> None:
    """Chosen dead letters are gone for good, the others stay."""
    lines = progress(songs.post("/deadletters/purge", json={"ids": dead[:2]}))

    assert lines[-1] == {"done": 2, "total": 2, "isFinished": True}
    assert count(songs) == 3


@pytest.mark.parametrize("verb", ["replay", "purge"])
def test_a_dry_run_does_nothing(songs: httpx.Client, dead: list[str], verb: str) -> None:
    """It only says how many there are."""
    lines = progress(songs.post(f"/deadletters/{verb}", json={"dryRun": True}))

    assert lines == [{"done": 0, "total": 5, "isFinished": True}]
    assert count(songs) == 5


# --- events, store, server ----------------------------------------------------------------------


def test_an_events_story(songs: httpx.Client, webhook: Receiver) -> None:
    """An event is found by its id, slashes included, with what became of it."""
    songs.post("/topics/songs/publish", json=EVENT | {"id": "a/b"})
    webhook.wait_for(1)

    (story,) = songs.get("/events/a%2Fb/trace?since=1h").json()["value"]

    assert (story["eventId"], story["topic"]) == ("a/b", "songs")
    (delivery,) = story["deliveries"]
    assert delivery["subscription"] == "blues"
    assert delivery["where"] in {"delivered", "sending"}
    assert songs.get("/events/unknown/trace").json() == {"value": []}
    problem(songs.get("/events/1/trace?topic=albums"), 404)


def test_the_store(songs: httpx.Client, tmp_path: Path) -> None:
    """Usage, damage and the size of a backup are told."""
    songs.post("/topics/songs/publish", json=EVENT)
    copy = tmp_path / "copy.db"

    assert songs.get("/store/usage").json()["eventCount"] == 1
    assert songs.post("/store/verify").json() == {"isIntact": True, "damage": []}
    backup = songs.post("/store/backup", json={"path": str(copy)}).json()
    assert backup == {"path": str(copy), "bytes": copy.stat().st_size}
    assert "relative" in problem(songs.post("/store/backup", json={"path": "b"}), 400)["detail"]


def test_the_configuration_hides_passwords(tmp_path: Path) -> None:
    """Every setting is listed with its default; the password in a URL is masked."""
    settings = Settings(network=NetworkSettings(proxies="http://u:pw@proxy.example:1"))
    with served(tmp_path, settings) as server, server.admin() as admin:
        listed = {each["name"]: each for each in admin.get("/config").json()["value"]}

    assert listed["network.proxies"]["value"] == "http://u:***@proxy.example:1"
    assert listed["metrics.public"]["default"] is False


def test_health(http: httpx.Client, admin: httpx.Client, server: Served) -> None:
    """Probes fail with their worker; what is wrong is said to this machine, not to strangers."""
    assert http.get("/healthz").json()["status"] == "ok"

    server.call(server.app.checks.append, lambda: Health("worker", ok=False, detail="it stands"))

    for path in ("/healthz", "/readyz"):
        answer = http.get(path)
        assert answer.status_code == 503
        assert answer.json()["checks"][-1]["detail"] == "it stands"
        stranger = http.get(path, headers={"X-Forwarded-For": "203.0.113.9"})
        assert stranger.json() == {"status": "failing", "checks": []}
    assert admin.get("/health").json()["status"] == "failing"
    assert admin.get("/status").json()["health"]["status"] == "failing"


def test_a_full_store_is_not_ready_but_alive(http: httpx.Client, server: Served) -> None:
    """Restarting makes no room, so only readiness fails."""
    server.app.grid.is_full = True

    assert http.get("/readyz").status_code == 503
    assert http.get("/healthz").status_code == 200


def test_a_wrong_validation_address(http: httpx.Client) -> None:
    """An address that nobody waits for validates nothing."""
    assert problem(http.get("/validate/wrong"), 404)["code"] == "ValidationNotFound"
    assert problem(http.post("/validate/wrong"), 404)["code"] == "ValidationNotFound"


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


def test_a_fault_of_ours(
    admin: httpx.Client, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception is a problem without its text, and the log has it."""

    def fail() -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(server.app, "topics", fail)

    answer = admin.get("/topics")

    assert "secret" not in answer.text
    assert problem(answer, 500)["code"] == "EP9001"


def test_a_full_store_says_when_to_come_back(songs: httpx.Client, server: Served) -> None:
    """A store without room answers a publish with 503, Retry-After and the fix."""
    server.app.grid.is_full = True

    answer = songs.post("/topics/songs/publish", json=EVENT)

    document = problem(answer, 503)
    assert document["code"] == "EP3001"
    assert document["fix"]
    assert int(answer.headers["retry-after"]) >= 1


def test_answers_are_not_cached(songs: httpx.Client) -> None:
    """Keys and states stay in no cache."""
    assert songs.get("/topics/songs/keys").headers["cache-control"] == "no-store"
