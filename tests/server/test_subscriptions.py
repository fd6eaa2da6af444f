"""Event subscriptions over the management API."""

from typing import Any

import httpx
import pytest

from eventpost.testing import Receiver
from tests.server.running import EVENT, problem, until


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
