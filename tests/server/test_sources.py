"""Sources over the management API."""

from typing import Any

import httpx
import pytest

from tests.server.running import problem

pytestmark = pytest.mark.usefixtures("pigeon")

LETTERS: dict[str, Any] = {
    "name": "letters",
    "topic": "songs",
    "kind": "pigeon",
    "connection": None,
    "queue": "grey",
    "options": {"breed": "racing"},
    "format": "raw",
    "inputMappingFields": {"eventtype": "data.kind"},
    "inputMappingDefaultValues": {"subject": "letters"},
    "lease": "30s",
    "prefetch": 5,
    "receivesMax": 3,
}


@pytest.fixture
def letters(admin: httpx.Client) -> httpx.Client:
    """With a topic `songs` and a source `letters`, paused."""
    admin.post("/topics", json={"name": "songs"})
    created = admin.post("/sources", json=LETTERS)
    assert created.status_code == 201, created.text
    return admin


def test_a_sources_life(letters: httpx.Client) -> None:
    """A source is created, shown, listed, changed, paused, resumed and deleted."""
    shown = letters.get("/sources/letters").json()
    assert {name: shown[name] for name in LETTERS} == LETTERS
    listed = letters.get("/sources", params={"topic": "songs"}).json()["value"]
    assert [each["name"] for each in listed] == ["letters"]
    assert letters.get("/sources", params={"topic": "eventpost.deadletters"}).json()["value"] == []

    changed = letters.patch("/sources/letters", json={"prefetch": 9, "lease": None}).json()
    assert (changed["prefetch"], changed["lease"]) == (9, "1m")
    assert letters.post("/sources/letters/pause").json()["isPaused"] is True
    replaced = letters.put("/sources/letters", json=shown).json()
    assert (replaced["prefetch"], replaced["lease"], replaced["isPaused"]) == (5, "30s", True)
    assert letters.post("/sources/letters/resume").json()["isPaused"] is False
    assert letters.delete("/sources/letters").status_code == 204
    assert problem(letters.get("/sources/letters"), 404)["code"] == "SourceNotFound"


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"name": "a b"}, 400, "cannot name a source"),
        ({"topic": ""}, 400, "topic is missing"),
        ({"topic": "opera"}, 404, "no topic 'opera'"),
        ({"topic": "eventpost.deadletters"}, 400, "built in"),
        ({"kind": "hawk"}, 400, "no queue system 'hawk'"),
        ({"queue": ""}, 400, "cannot be a queue"),
        ({"connection": "nowhere"}, 404, "no connection 'nowhere'"),
        ({"connection": "other"}, 400, "needs a connection of the kind pigeon"),
        ({"options": {"brede": "x"}}, 400, "options.brede is not a known field"),
        ({"format": "xml"}, 400, "no message format"),
        ({"format": "event"}, 400, "no input mapping"),
        ({"inputMappingFields": {"eventtype": "kind"}}, 400, "no path"),
        ({"lease": "soon"}, 400, "no duration"),
        ({"prefetch": 0}, 400, "prefetch is 0"),
        ({"receivesMax": 0}, 400, "receives is 0"),
        ({"reveivesMax": 1}, 400, "reveivesMax is not a known field"),
    ],
)
def test_sources_that_cannot_be(
    admin: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    status: int,
    says: str,
) -> None:
    """A wrong declaration is refused with what is wrong in the detail, and nothing is kept."""
    from eventpost.queues import kinds

    monkeypatch.setitem(kinds.CONNECTION_CLASSES, "dove", "eventpost_pigeon:PigeonConnection")
    admin.post("/topics", json={"name": "songs"})
    admin.post("/connections", json={"name": "other", "kind": "dove"})

    document = problem(admin.post("/sources", json=LETTERS | change), status)

    assert says in document["detail"].replace("is not a duration", "is no duration")
    assert document["fix"]
    assert admin.get("/sources").json()["value"] == []


def test_a_source_exists_once(letters: httpx.Client) -> None:
    """Names are unique over all topics."""
    letters.post("/topics", json={"name": "others"})

    refused = problem(letters.post("/sources", json=LETTERS | {"topic": "others"}), 409)

    assert refused["code"] == "SourceExists"


def test_a_source_keeps_its_topic(letters: httpx.Client) -> None:
    """A source cannot be moved to another topic."""
    refused = problem(letters.patch("/sources/letters", json={"topic": "others"}), 400)

    assert "keeps its name and topic" in refused["fix"]


def test_a_source_goes_with_its_topic(letters: httpx.Client) -> None:
    """Deleting a topic deletes the sources that feed it."""
    letters.delete("/topics/songs")

    assert letters.get("/sources").json()["value"] == []
