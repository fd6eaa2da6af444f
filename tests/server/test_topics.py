"""Topics, their keys, and publishing as administrator."""

import httpx
import pytest

from eventpost.testing import Receiver
from tests.server.running import EVENT, problem


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
    assert names == ["eventpost.deadletters", "eventpost.health", "songs"]
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
