"""A Lambda function that publishes to a grid with the plain client, frozen between its calls."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventpost.config.settings import Settings
from eventpost.http.server.limits import HttpLimits
from eventpost.testing import LambdaRuntime
from tests.server.running import Served, served

pytestmark = pytest.mark.slow

IDLE_S = 0.5
HANDLER = """
from eventpost import Client

client = Client()


def handler(event, context):
    wanted = {
        "id": event["id"], "subject": "song", "eventType": "Song.Played", "dataVersion": "1",
        "eventTime": "2026-01-01T00:00:00Z", "data": event,
    }
    client.publish_events("songs", [wanted])
    return client.publish_events("songs", [wanted | {"id": event["id"] + "-again"}])
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """A grid that closes connections which rest for half a second."""
    settings = msgspec.structs.replace(Settings(), http=HttpLimits(idle_s=IDLE_S))
    with served(tmp_path / "data", settings) as server:
        with server.admin() as admin:
            admin.post("/topics", json={"name": "songs"})
        yield server


def test_a_frozen_function_publishes_again(server: Served, tmp_path: Path) -> None:
    """A function whose connection the grid closed while it slept publishes over another one, and
    loses no event."""
    (tmp_path / "radio.py").write_text(HANDLER)
    environment = {"EVENTPOST_URL": server.url, "EVENTPOST_TOKEN": server.token}
    with LambdaRuntime(
        "radio.handler", tmp_path, timeout_s=10, environment=environment
    ) as function:
        first = function.invoke({"id": "1"})
        rest_until_s = time.monotonic() + 2 * IDLE_S
        while time.monotonic() < rest_until_s:
            time.sleep(0.05)
        second = function.invoke({"id": "2"})

    assert first.error is None, first
    assert second.error is None, second
    assert published(server) == 4


def published(server: Served) -> float:
    with server.http() as client:
        text = client.get("/metrics").text
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("eventpost_published_events_total{")
    )
