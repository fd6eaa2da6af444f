"""Replay, purge and tail as those who ask for them see them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eventpost.app import replaying
from eventpost.core.events import Event
from eventpost.core.interfaces import DeadLetterQuery
from tests.app.station import Station, draft, run
from tests.grid.rig import failed

ALL = 1 << 62


async def kill(station: Station, count: int) -> None:
    """So many dead letters of a new subscription."""
    await station.app.create_subscription("songs", draft(), "now")
    station.destination().react = lambda _: failed(400)
    await station.publish(count)
    await station.settled()
    station.destination().react = lambda _: None
    station.destination().attempts.clear()


async def counts(running: AsyncIterator[int]) -> list[int]:
    return [count async for count in running]


def query(limit: int = ALL) -> DeadLetterQuery:
    return DeadLetterQuery(limit=limit)


# --- replay and purge -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "expected"), [(None, [11]), (50.0, [5, 10, 11]), (5.0, list(range(1, 12)))]
)
def test_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float | None, expected: list[int]
) -> None:
    """It tells how many were put back, as it goes: a tenth of a second's worth at a time."""
    waited: list[float] = []
    sleep = asyncio.sleep

    async def wait(seconds: float) -> None:
        if seconds:
            waited.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", wait)

    async def scenario(station: Station) -> None:
        await kill(station, 11)

        assert await counts(await station.app.replay(query(), rate)) == expected
        await station.settled()

        assert len(station.destination().attempts) == 11
        assert await station.app.count_dead_letters(query()) == 0

    run(tmp_path, scenario)
    assert sum(waited) == pytest.approx(0 if rate is None else 11 / rate)


@pytest.mark.parametrize("count", [replaying.PAGE - 1, replaying.PAGE, replaying.PAGE + 1])
def test_pages(tmp_path: Path, count: int) -> None:
    """Any number is taken, a page at a time."""

    async def scenario(station: Station) -> None:
        await kill(station, count)

        told = await counts(await station.app.purge(query()))

        assert told[-1] == count
        assert len(told) == 1 + (count > replaying.PAGE)
        assert await station.app.dead_letters(query(limit=10)) == []

    run(tmp_path, scenario)


@pytest.mark.parametrize("limit", [1, 4, 5, 6])
def test_a_limit(tmp_path: Path, limit: int) -> None:
    """No more are taken than asked for."""

    async def scenario(station: Station) -> None:
        await kill(station, 5)

        assert (await counts(await station.app.replay(query(limit=limit), None)))[-1] == min(
            limit, 5
        )

    run(tmp_path, scenario)


def test_nothing_to_take(tmp_path: Path) -> None:
    """Nothing is told when nothing matches."""

    async def scenario(station: Station) -> None:
        assert await counts(await station.app.replay(query(), None)) == []
        assert await counts(await station.app.purge(query())) == []

    run(tmp_path, scenario)


def test_two_replays_at_once(tmp_path: Path) -> None:
    """Of two replays that meet, each dead letter goes to one, and is sent once."""

    async def scenario(station: Station) -> None:
        await kill(station, 20)

        first, second, third = await asyncio.gather(
            counts(await station.app.replay(query(), 50.0)),
            counts(await station.app.replay(query(), 200.0)),
            counts(await station.app.purge(query(limit=7))),
        )
        await station.settled()

        totals = [each[-1] if each else 0 for each in (first, second, third)]
        assert sum(totals) == 20
        ids = station.destination().ids
        assert len(ids) == len(set(ids)) == totals[0] + totals[1]
        report = station.app.status("songs", "handler")
        assert report.dead_letters == 0
        assert report.tally.replayed == len(ids)

    run(tmp_path, scenario)


@pytest.mark.parametrize("second", ["replay", "purge"])
def test_what_was_read_is_not_taken_by_others(tmp_path: Path, second: str) -> None:
    """A page that takes long to be read holds nothing that somebody else took meanwhile."""

    async def scenario(station: Station) -> None:
        await kill(station, 3)
        other = (
            await station.app.replay(query(), None)
            if second == "replay"
            else await station.app.purge(query())
        )
        station.executor.hold("scan")
        running = [
            asyncio.ensure_future(counts(await station.app.replay(query(), None))),
            asyncio.ensure_future(counts(other)),
        ]
        await station.settled()
        done, answer = station.executor.held["scan"].pop(0)
        station.clock.call_soon(done, answer)
        await station.settled()
        station.executor.release("scan")

        assert await asyncio.gather(*running) == [[3], []]
        await station.settled()
        assert station.app.status("songs", "handler").tally.replayed == 3
        assert len(station.destination().attempts) == 3

    run(tmp_path, scenario)


def test_what_falls_again_is_left_alone(tmp_path: Path) -> None:
    """A replay takes what was dead when it began, once, though it may die again meanwhile."""

    async def scenario(station: Station) -> None:
        await kill(station, 10)
        station.destination().react = lambda _: failed(400)

        told = await counts(await station.app.replay(query(), 50.0))
        await station.settled()

        assert told[-1] == 10
        assert len(station.destination().attempts) == 10
        assert station.app.status("songs", "handler").dead_letters == 10

    run(tmp_path, scenario)


# --- tail -----------------------------------------------------------------------------------------


async def take(tail: AsyncIterator[tuple[int, int, Event]], count: int) -> list[int]:
    return [(await anext(tail))[0] for _ in range(count)]


def test_tail(tmp_path: Path) -> None:
    """Events from now on, in order, each with its place and time; other topics are not heard."""

    async def scenario(station: Station) -> None:
        await station.publish(2)
        tail = station.app.tail("songs")
        following = asyncio.ensure_future(anext(tail))
        await asyncio.sleep(0)

        station.advance(5.0)
        await station.publish(3)

        position, published_ms, event = await following
        assert (position, event.id) == (2, "e0")
        assert published_ms == station.clock.now_ms()
        assert await take(tail, 2) == [3, 4]
        await tail.aclose()  # type: ignore[attr-defined]
        assert not any(station.app.listeners.values())

    run(tmp_path, scenario)


@pytest.mark.parametrize(("count", "first"), [(4, 0), (5, 0), (6, 1), (12, 7)])
def test_a_slow_reader(tmp_path: Path, count: int, first: int) -> None:
    """Of what waits for a reader the oldest beyond the bound are passed over; positions tell."""

    async def scenario(station: Station) -> None:
        tail = replaying.tail(station.app, station.app.topic("songs").id, 5)
        following = asyncio.ensure_future(anext(tail))
        await asyncio.sleep(0)
        await station.publish(count)
        positions = [(await following)[0]]

        positions += await take(tail, min(count, 5) - 1)

        assert positions == list(range(first, count))
        await tail.aclose()  # type: ignore[attr-defined]

    run(tmp_path, scenario)


def test_a_publish_counts_its_own(tmp_path: Path) -> None:
    """Publishes that share a commit are each told their own number."""

    async def scenario(station: Station) -> None:
        event = (
            b'{"id":"1","eventType":"T","subject":"s","eventTime":"2026-01-01T00:00:00Z",'
            b'"data":1,"dataVersion":"1"}'
        )
        bodies = [b"[" + b",".join([event] * count) + b"]" for count in (1, 2, 3)]

        told = await asyncio.gather(*(station.app.publish("songs", body) for body in bodies))

        assert told == [1, 2, 3]

    run(tmp_path, scenario)
