"""A whole server and clients for it, one for each test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventpost.testing import Receiver
from tests.server.running import EVENT, Served, count, served, until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "data") as running:
        yield running


@pytest.fixture
def http(server: Served) -> Iterator[httpx.Client]:
    """Without the admin token."""
    with server.http() as client:
        yield client


@pytest.fixture
def admin(server: Served) -> Iterator[httpx.Client]:
    """With the admin token, below the management prefix."""
    with server.admin() as client:
        yield client


@pytest.fixture
def webhook() -> Iterator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


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
