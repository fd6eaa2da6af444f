"""A store that fails is opened anew, and the grid goes on from what is on the disk."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventpost.app import supervisor
from eventpost.core.errors import Overloaded
from eventpost.core.events import Schema
from eventpost.core.outcomes import DELIVERED
from eventpost.testing.disk import Disk
from tests.app.station import Station, draft, run


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk", seed=1)
    yield made
    made.close()


async def fail(station: Station, disk: Disk) -> None:
    """Let the next commit fail."""
    disk.full_at_write = disk.writes + 1
    with pytest.raises(Overloaded):
        await station.publish()
    disk.full_at_write = None


async def serving(station: Station) -> None:
    """Until the store is open again."""
    while station.supervisor.failure is not None:
        await asyncio.sleep(0)


def test_it_serves_again(tmp_path: Path, disk: Disk) -> None:
    """After a commit failed the store is opened anew: publishing, sending and changes go on, what
    was settled stays settled, and what was in flight goes out again."""

    async def scenario(station: Station) -> None:
        await station.app.create_subscription("songs", draft(), "now")
        await station.publish()
        station.destination().answer(DELIVERED)
        await station.settled()
        await station.publish()
        await station.settled()
        old = station.destination()
        assert len(old.open) == 1

        await fail(station, disk)
        await serving(station)
        await station.settled()

        assert station.logged == ["store.failed", "store.reopened"]
        assert station.supervisor.failures == 1
        assert old.is_closed
        assert len(station.destination().open) == 1
        station.destination().always(DELIVERED)
        await station.publish()
        await station.settled()
        books = station.app.status("songs", "handler").tally
        assert (books.matched, books.delivered, books.pending) == (3, 3, 0)
        await station.app.create_topic("news", Schema.EVENT_GRID)

    run(tmp_path, scenario, vfs=disk.name)


def test_until_then_it_refuses(tmp_path: Path, disk: Disk) -> None:
    """While the store is not open publishing and changes are refused, and health says why."""

    async def scenario(station: Station) -> None:
        is_over = asyncio.Event()

        async def wait(_: float) -> None:
            await is_over.wait()

        station.may_wait = wait
        await fail(station, disk)

        with pytest.raises(Overloaded):
            await station.publish()
        with pytest.raises(Overloaded):
            await station.app.create_topic("news", Schema.EVENT_GRID)
        (store, *_) = station.app.health()
        assert (store.name, store.ok) == ("store", False)
        assert store.detail

        is_over.set()
        await serving(station)
        assert [each.name for each in station.app.topics()] == [
            "eventpost.deadletters",
            "eventpost.health",
            "songs",
        ]
        assert all(each.ok for each in station.app.health())

    run(tmp_path, scenario, vfs=disk.name)


def test_it_waits_longer_each_time(tmp_path: Path, disk: Disk) -> None:
    """Opening is tried again and again, up to a bound apart; the next failure begins anew."""

    async def scenario(station: Station) -> None:
        station.store.refusals = 7
        await fail(station, disk)
        await serving(station)

        assert station.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
        assert station.waits[-1] == supervisor.REOPEN_WAIT_S_MAX
        assert station.logged.count("store.reopen_failed") == 7
        await station.publish()

        await fail(station, disk)
        await serving(station)
        assert station.waits[8:] == [0.5]

    run(tmp_path, scenario, vfs=disk.name)


@pytest.mark.parametrize("refusals", [0, 1])
def test_an_end_while_it_waits(tmp_path: Path, disk: Disk, refusals: int) -> None:
    """A server that is told to stop while its store is not usable stops."""

    async def scenario(station: Station) -> None:
        station.store.refusals = refusals
        never = asyncio.Event()

        async def wait(_: float) -> None:
            if len(station.waits) > refusals:
                await never.wait()

        station.may_wait = wait
        await fail(station, disk)
        while len(station.waits) <= refusals:
            await asyncio.sleep(0)

        await station.supervisor.close()

        assert station.store.opened == 1 + refusals
        assert station.logged.count("store.reopened") == 0

    run(tmp_path, scenario, vfs=disk.name)


def test_an_end_while_it_opens(tmp_path: Path, disk: Disk) -> None:
    """A store that is just being opened is closed once it is open: another process can have it."""

    async def scenario(station: Station) -> None:
        await fail(station, disk)
        while not station.supervisor.is_opening:
            await asyncio.sleep(0)

        await station.supervisor.close()

        assert station.store.opened == 2
        station.store.open()  # nobody holds its lock
        station.store.close()

    run(tmp_path, scenario, vfs=disk.name)


def test_a_commit_that_fails_at_the_end(tmp_path: Path, disk: Disk) -> None:
    """A last commit that fails does not keep the server from stopping, nor open the store again."""

    async def scenario(station: Station) -> None:
        await station.app.create_subscription("songs", draft(), "now")
        await station.publish()
        await station.settled()
        station.destination().attempts[0].is_answered = True
        attempt = station.destination().attempts[0]
        attempt.done(attempt.deliveries, DELIVERED)
        disk.full_at_write = disk.writes + 1

        await station.supervisor.close()

        assert station.store.opened == 1

    run(tmp_path, scenario, vfs=disk.name)


def test_a_tail_goes_on(tmp_path: Path, disk: Disk) -> None:
    """Whoever follows a topic hears of what is published after a reopening too."""

    async def scenario(station: Station) -> None:
        tail = station.app.tail("songs")
        following = asyncio.ensure_future(anext(tail))
        await asyncio.sleep(0)
        await fail(station, disk)
        await serving(station)

        await station.publish()

        position, _, event = await following
        assert (position, event.id) == (0, "e0")
        await tail.aclose()  # type: ignore[attr-defined]

    run(tmp_path, scenario, vfs=disk.name)
