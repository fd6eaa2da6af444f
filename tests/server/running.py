"""The whole server on a real socket and a real store, in a thread of its own."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from eventpost.app import compose
from eventpost.app.application import App
from eventpost.config import local
from eventpost.config.settings import ServerSettings, Settings
from eventpost.server.routes import API_PREFIX
from eventpost.server.serving import Build, Running
from eventpost.testing.background import BackgroundLoop
from tests.patience import PATIENCE_S

EVENT = {
    "id": "1",
    "subject": "genre/blues",
    "eventType": "Song.Requested",
    "eventTime": "2026-01-01T00:00:00Z",
    "data": {"title": "Dust My Broom"},
    "dataVersion": "1",
}

T = TypeVar("T")


def until(condition: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
    """Ask until `condition` holds; fail when it does not in time."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline_s, "waited too long"
        time.sleep(0.002)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert all(document[name] for name in ("type", "title", "code", "detail"))
    return document


def count(client: httpx.Client) -> int:
    found: int = client.get("/deadletters/count").json()["count"]
    return found


class Served:
    """A running server, and how to reach it."""

    def __init__(self, loop: BackgroundLoop, running: Running, data: Path) -> None:
        self.loop = loop
        self.app: App = running.app
        self.data_plane = running.data_plane
        self.url = running.url
        self.data = data
        token = local.read_token(data)
        assert token is not None, "the first start makes a token"
        self.token = token

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call something of the application where it may be called."""
        return self.loop.call(function, *arguments)

    def key(self, topic: str) -> str:
        return self.call(self.app.topic, topic).key1

    def http(self) -> httpx.Client:
        """A client without the admin token."""
        return httpx.Client(base_url=self.url, verify=False, timeout=PATIENCE_S)

    def admin(self) -> httpx.Client:
        """A client with the admin token, below the management prefix."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = self.url + API_PREFIX
        return httpx.Client(base_url=url, headers=headers, verify=False, timeout=PATIENCE_S)


@contextmanager
def served(
    data: Path, settings: Settings | None = None, *, build: Build = compose.build, **server: Any
) -> Iterator[Served]:
    """A server on a free port with its data in `data`, until the block ends."""
    own = ServerSettings(**{"data": str(data), "listen": "127.0.0.1:0", **server})
    settings = msgspec.structs.replace(settings or Settings(), server=own)
    loop = BackgroundLoop("server", asyncio.new_event_loop)
    try:
        running = loop.run(Running.start(settings, build=build))
        try:
            yield Served(loop, running, data)
        finally:
            loop.run(running.stop())
    finally:
        loop.close()
