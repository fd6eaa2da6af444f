"""From a publish to a queue: the whole server, and Amazon SQS as the moto server plays it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.running import EVENT, problem, served, until
from tests.services.aws_clients import client as aws_client
from tests.services.moto import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Moto
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow


class Jobs:
    """A queue of SQS."""

    def __init__(self, moto: Moto) -> None:
        self.name = fresh_name("endpoint")
        self._client = aws_client(moto.url, "sqs")
        self._url = self._client.create_queue(QueueName=self.name)["QueueUrl"]
        self.messages: list[dict[str, Any]] = []

    def ids(self) -> list[str]:
        """Of every event that was sent so far, in any order."""
        answer = self._client.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        self.messages += answer.get("Messages", [])
        return sorted(json.loads(each["Body"])["id"] for each in self.messages)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def jobs(moto: Moto) -> Iterator[Jobs]:
    made = Jobs(moto)
    yield made
    made.close()


@pytest.fixture
def settings(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Of a connection to it."""
    monkeypatch.setenv("STATION_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("STATION_SECRET", SECRET_ACCESS_KEY)
    return {
        "region": "us-east-1",
        "endpoint_url": moto.url,
        "access_key_id": "env:STATION_KEY_ID",
        "secret_access_key": "env:STATION_SECRET",
        "attempts_max": 1,
        "request_timeout_s": 2.0,
    }


def declare(admin: httpx.Client, jobs: Jobs, settings: dict[str, object]) -> None:
    connection = {"name": "station", "kind": "aws", "settings": settings}
    assert admin.post("/connections", json=connection).status_code == 201
    assert admin.post("/topics", json={"name": "songs"}).status_code == 201
    created = admin.post(
        "/subscriptions",
        json={
            "name": "out",
            "topic": "songs",
            "endpointType": "sqs",
            "endpoint": jobs.name,
            "connection": "station",
            "retry": {"schedule": "100ms"},
            "deliveryAttributeMappings": [
                {"name": "x-subject", "type": "dynamic", "sourceField": "subject"}
            ],
        },
    )
    assert created.status_code == 201, created.text


def publish(admin: httpx.Client, *ids: str) -> None:
    events = [EVENT | {"id": one} for one in ids]
    assert admin.post("/topics/songs/publish", json=events).status_code == 200


def books(admin: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = admin.get("/subscriptions/out").json()["books"]
    return found


def test_events_reach_the_queue(tmp_path: Path, jobs: Jobs, settings: dict[str, object]) -> None:
    """Each event is one message with its attributes, each is settled, and the books balance."""
    ids = sorted(f"e-{number:02}" for number in range(25))
    with served(tmp_path / "data") as server, server.admin() as admin:
        declare(admin, jobs, settings)

        publish(admin, *ids)

        until(lambda: jobs.ids() == ids)
        until(lambda: books(admin)["delivered"] == 25)
        assert books(admin)["pending"] == 0
    attributes = jobs.messages[0]["MessageAttributes"]
    assert attributes["x-subject"]["StringValue"] == EVENT["subject"]


def test_a_changed_connection_is_used_at_once(
    tmp_path: Path, jobs: Jobs, settings: dict[str, object]
) -> None:
    """What failed over a wrong connection is delivered over the mended one, and a connection in use
    is not deleted."""
    wrong = settings | {"endpoint_url": "http://127.0.0.1:9", "connect_timeout_s": 1.0}
    with served(tmp_path / "data") as server, server.admin() as admin:
        declare(admin, jobs, wrong)
        publish(admin, "e-1")
        until(lambda: bool(admin.get("/subscriptions/out").json()["lastFailures"]))
        failure = admin.get("/subscriptions/out").json()["lastFailures"][0]
        assert failure["finding"] == "EP2004"
        assert failure["evidence"]["system"] == "sqs"

        mended = admin.patch(
            "/connections/station", json={"settings": {"endpoint_url": settings["endpoint_url"]}}
        )
        assert mended.status_code == 200, mended.text

        until(lambda: jobs.ids() == ["e-1"])
        until(lambda: books(admin)["delivered"] == 1)
        refused = problem(admin.delete("/connections/station"), 409)
        assert "subscription out of songs" in refused["detail"]


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"endpoint": "no queue"}, 400, "no queue"),
        ({"connection": "other"}, 400, "needs a connection of the kind aws"),
        ({"endpointOptions": {"colour": 1}}, 400, "options.colour is not a known field"),
        ({"messageFormat": "xml"}, 400, "no message format"),
        ({"messageProperties": [{"name": "colour", "value": "x"}]}, 400, "'colour' is not known"),
        ({"endpointType": "hawk"}, 400, "no endpoint type 'hawk'"),
    ],
)
@pytest.mark.usefixtures("pigeon")
def test_endpoints_that_cannot_be(
    tmp_path: Path,
    jobs: Jobs,
    settings: dict[str, object],
    change: dict[str, object],
    status: int,
    says: str,
) -> None:
    """A queue that could never be opened is refused when it is declared, not when it fails."""
    declared = {
        "name": "out",
        "topic": "songs",
        "endpointType": "sqs",
        "endpoint": jobs.name,
        "connection": "station",
    }
    with served(tmp_path / "data") as server, server.admin() as admin:
        admin.post("/topics", json={"name": "songs"})
        admin.post("/connections", json={"name": "station", "kind": "aws", "settings": settings})
        admin.post("/connections", json={"name": "other", "kind": "pigeon"})

        document = problem(admin.post("/subscriptions", json=declared | change), status)

        assert says in document["detail"]
        assert document["fix"]
        assert admin.get("/subscriptions").json()["value"] == []


def test_an_endpoint_whose_library_is_gone(
    tmp_path: Path, jobs: Jobs, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose queue library was removed starts all the same; the attempts say what is
    missing, and none counts."""
    with served(tmp_path / "data") as server, server.admin() as admin:
        declare(admin, jobs, settings)
    from eventpost.queues import kinds

    monkeypatch.setattr(kinds, "_is_installed", lambda name: name != "botocore")

    with served(tmp_path / "data") as server, server.admin() as admin:
        publish(admin, "e-1")
        until(lambda: bool(admin.get("/subscriptions/out").json()["lastFailures"]))
        failure = admin.get("/subscriptions/out").json()["lastFailures"][0]

        assert failure["finding"] == "EP2704"
        assert "eventpost[aws]" in failure["evidence"]["detail"]
        assert failure["attempt"] == 0
