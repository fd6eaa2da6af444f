"""The grid and the workers meet: events become tasks, and tasks publish events."""

from pathlib import Path
from typing import Any

import dramatiq
import pytest

from eventpost import Client
from eventpost.testing.brokers.harness import Log
from tests.server.running import EVENT, served
from tests.services.moto import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Moto
from tests.workers.harnesses import SqsHarness

pytestmark = pytest.mark.slow


def test_an_event_becomes_a_task(
    moto: Moto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue endpoint with the format `dramatiq` sends a task for the actor of the event's type,
    with the event's data as its argument, to the very queue of a worker."""
    monkeypatch.setenv("STATION_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("STATION_SECRET", SECRET_ACCESS_KEY)
    log = Log()
    with (
        SqsHarness(tmp_path, moto) as harness,
        served(tmp_path / "data") as server,
        server.admin() as admin,
    ):
        broker = harness.new_broker()

        @dramatiq.actor(broker=broker, actor_name=str(EVENT["eventType"]))
        def requested(data: dict[str, Any]) -> None:
            log.add(data)

        settings = {
            "region": REGION,
            "endpoint_url": moto.url,
            "access_key_id": "env:STATION_KEY_ID",
            "secret_access_key": "env:STATION_SECRET",
        }
        connection = {"name": "station", "kind": "aws", "settings": settings}
        assert admin.post("/connections", json=connection).status_code == 201
        assert admin.post("/topics", json={"name": "songs"}).status_code == 201
        with harness.working(broker):
            harness.join(broker)
            created = admin.post(
                "/subscriptions",
                json={
                    "name": "work",
                    "topic": "songs",
                    "endpointType": "sqs",
                    "endpoint": f"{harness.namespace}-default",
                    "connection": "station",
                    "messageFormat": "dramatiq",
                },
            )
            assert created.status_code == 201, created.text
            event = {**EVENT, "data": {"song": "Cross Road Blues"}}
            assert admin.post("/topics/songs/publish", json=[event]).status_code == 200
            harness.until(lambda: log.entries)
            harness.join(broker)

    assert log.entries == [{"song": "Cross Road Blues"}]


def test_a_task_that_cannot_publish_is_not_finished(moto: Moto, tmp_path: Path) -> None:
    """An actor whose publish fails has failed: it is tried again until the event is durable."""
    log = Log()
    with SqsHarness(tmp_path, moto) as harness, served(tmp_path / "data") as server:
        broker = harness.new_broker()

        @dramatiq.actor(broker=broker, min_backoff=500, max_backoff=500)
        def announce(song: str) -> None:
            log.add("tried")
            with Client(server.url, token=server.token) as client:
                client.publish_events("songs", [{**EVENT, "subject": song}])
            log.add("published")

        announce.send("blues")
        with harness.working(broker), server.admin() as admin:
            harness.until(lambda: log.entries.count("tried") >= 2)
            assert "published" not in log.entries
            assert admin.post("/topics", json={"name": "songs"}).status_code == 201
            harness.join(broker)

    assert log.entries.count("published") == 1
