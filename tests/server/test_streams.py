"""Streams begin before anything is missed, end with their reader, and tell when nothing happens."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from eventpost import AsyncClient
from eventpost.core.errors import EventpostError, Overloaded
from eventpost.core.events import Schema
from eventpost.registry.models import Count
from eventpost.server import streams
from eventpost.server.routes import Lines
from tests.server.running import EVENT, Served, until


@pytest.fixture
def server(server: Served) -> Served:
    """With a topic."""
    server.loop.run(server.app.create_topic("songs", Schema.EVENT_GRID))
    return server


def reader_count(server: Served) -> int:
    listeners = server.app.grid.listeners
    return sum(len(each) for each in listeners.values())


def test_a_tail_misses_nothing(admin: httpx.Client, server: Served) -> None:
    """What is published once the answer has begun is in the stream, as NDJSON."""
    with admin.stream("GET", "/topics/songs/tail") as answer:
        admin.post("/topics/songs/publish", json=EVENT)
        lines = answer.iter_lines()
        tailed = json.loads(next(line for line in lines if line))

    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert tailed["position"] == 0
    assert tailed["event"]["data"] == EVENT["data"]
    assert tailed["publishTime"].endswith("Z")


def test_server_sent_events(admin: httpx.Client, server: Served) -> None:
    """A caller that accepts them gets server-sent events."""
    with admin.stream(
        "GET", "/topics/songs/tail", headers={"Accept": "text/event-stream"}
    ) as answer:
        admin.post("/topics/songs/publish", json=EVENT)
        lines = answer.iter_lines()
        assert next(lines) == ":"
        data = next(line for line in lines if line.startswith("data: "))

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert json.loads(data.removeprefix("data: "))["event"]["id"] == "1"


def test_a_tail_of_nothing(admin: httpx.Client) -> None:
    """An unknown topic is refused before the stream begins."""
    assert admin.get("/topics/albums/tail").status_code == 404


def test_a_quiet_stream_shows_that_it_lives(
    admin: httpx.Client, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without events an empty line comes now and then, or a comment as server-sent events."""
    monkeypatch.setattr(streams, "IDLE_S", 0.01)

    for accepted, idle in (("*/*", b"\n"), ("text/event-stream", b":\n\n")):
        headers = {"Accept": accepted}
        with admin.stream("GET", "/topics/songs/tail", headers=headers) as answer:
            received = answer.iter_raw()
            assert b"".join(next(received) for _ in range(3)).startswith(idle * 2)


def test_a_reader_that_goes_away_ends_the_stream(admin: httpx.Client, server: Served) -> None:
    """Nothing listens for a caller that has closed its connection."""
    with admin.stream("GET", "/topics/songs/tail") as answer:
        received = answer.iter_raw()
        next(received)
        assert reader_count(server) == 1

    until(lambda: reader_count(server) == 0)


def test_an_asynchronous_reader_may_stop(server: Served) -> None:
    """A tail that is cancelled lets its connection go."""

    async def follow() -> None:
        async with AsyncClient(server.url, token=server.token) as client:
            following = asyncio.ensure_future(anext(client.tail_topic("songs")))
            while not reader_count(server):
                await asyncio.sleep(0.001)
            following.cancel()
            await asyncio.wait({following})

    asyncio.run(follow())

    until(lambda: reader_count(server) == 0)


@pytest.mark.parametrize(
    ("failure", "code"), [(Overloaded("EP3003", "Failed."), "EP3003"), (ValueError("x"), "EP9001")]
)
def test_a_stream_that_fails_says_so(failure: Exception, code: str) -> None:
    """An error after the stream began is its last line, as a problem; a fault without its text."""

    async def values() -> AsyncIterator[Count]:
        yield Count(count=1)
        raise failure

    first, last = asyncio.run(streamed(Lines(values())))

    assert first == {"count": 1}
    assert last["problem"]["code"] == code
    assert isinstance(failure, EventpostError) or "x" not in last["problem"]["detail"]


@pytest.mark.parametrize("is_endless", [True, False])
def test_a_server_that_stops_ends_its_streams(is_endless: bool) -> None:
    """A stream ends at once when the server is told to stop, with a last line that says so; what
    it was fed from is closed."""
    stopping = asyncio.Event()
    closed = []

    async def values() -> AsyncIterator[Count]:
        try:
            yield Count(count=1)
            stopping.set()
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    lines = asyncio.run(streamed(Lines(values(), is_endless=is_endless), stopping))

    assert lines[0] == {"count": 1}
    assert lines[-1]["problem"]["code"] == "ServerStopping"
    assert closed == [True]


def test_what_is_there_goes_out_before_the_end() -> None:
    """A stream that has ended by itself is not said to be cut off."""
    stopping = asyncio.Event()

    async def values() -> AsyncIterator[Count]:
        stopping.set()
        yield Count(count=1)

    assert asyncio.run(streamed(Lines(values()), stopping))[0] == {"count": 1}


async def streamed(
    lines: Lines[Count], stopping: asyncio.Event | None = None
) -> list[dict[str, Any]]:
    """The lines of an answer, taken from the ASGI application that `streams` makes."""
    event = stopping or asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer = streams.response(lines, Request(scope), event)
        await answer(scope, receive, send)

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.get("/")
    return [json.loads(line) for line in answer.text.splitlines() if line]
