"""Streams end with their reader, and tell when nothing happens."""

import asyncio
import threading
from collections.abc import AsyncIterator

import httpx

from eventpost import AsyncClient
from eventpost.core.events import Event
from tests.server.fake import TOKEN, FakeApp
from tests.server.running import Served


class Waiting:
    """A tail on which nothing happens until it is closed."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.is_closed = threading.Event()

    async def tail(self, topic: str) -> AsyncIterator[tuple[int, int, Event]]:
        self.is_open.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.is_closed.set()
        yield 0, 0, Event("", "", "", b"")


def test_a_quiet_stream_shows_that_it_lives(admin: httpx.Client, app: FakeApp) -> None:
    """Without events an empty line comes now and then, or a comment as server-sent events."""
    app.tail = Waiting().tail  # type: ignore[method-assign]  # a topic on which nothing happens
    admin.post("/topics", json={"name": "songs"})

    with admin.stream("GET", "/topics/songs/tail") as answer:
        assert next(answer.iter_raw()) == b"\n"
    accepts = {"Accept": "text/event-stream"}
    with admin.stream("GET", "/topics/songs/tail", headers=accepts) as answer:
        assert next(answer.iter_raw()) == b":\n\n"


def test_a_reader_that_goes_away_ends_the_stream(admin: httpx.Client, app: FakeApp) -> None:
    """What feeds a stream is closed when nobody reads it any more."""
    waiting = Waiting()
    app.tail = waiting.tail  # type: ignore[method-assign]  # a topic on which nothing happens
    admin.post("/topics", json={"name": "songs"})

    with admin.stream("GET", "/topics/songs/tail") as answer:
        next(answer.iter_raw())

    assert waiting.is_closed.wait(10)


def test_an_asynchronous_reader_may_stop(server: Served, app: FakeApp) -> None:
    """A tail that is cancelled lets its connection go."""
    waiting = Waiting()
    app.tail = waiting.tail  # type: ignore[method-assign]  # a topic on which nothing happens

    async def follow() -> None:
        async with AsyncClient(server.url, token=TOKEN) as client:
            await client.create_topic("songs")
            following = asyncio.ensure_future(anext(client.tail_topic("songs")))
            while not waiting.is_open.is_set():
                await asyncio.sleep(0.001)
            following.cancel()
            await asyncio.wait({following})

    asyncio.run(follow())

    assert waiting.is_closed.wait(10)
