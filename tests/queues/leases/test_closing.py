"""Pausing and closing: nothing is kept from others for longer than need be, and nothing is lost."""

import pytest

from eventpost.queues.interfaces import Traits
from eventpost.queues.leases import Left
from eventpost.queues.leases.commands import Command, Receive, Settle
from eventpost.testing.memory_queue import FORBIDDEN, HELD, LEASED, LOG, POLLED
from tests.queues.leases.rig import new_rig, rig_on

HOUR_S = 3_600.0


@pytest.mark.parametrize("traits", [LEASED, POLLED, HELD])
def test_pause_gives_back_what_was_not_taken(traits: Traits) -> None:
    """A paused engine keeps and settles only what is at work; others get the rest."""
    rig = new_rig(traits)
    rig.send("1", "2", "3")
    rig.advance(1.0)
    [lease] = rig.leases.take_many(1)
    rig.leases.pause()
    rig.advance(1.0)
    other = rig_on(rig.clock, rig.server)
    rig.advance(HOUR_S)

    assert rig.take() == []
    assert len(other.take()) == 2
    assert rig.stats().is_paused
    rig.leases.finish(lease)
    rig.advance(1.0)
    assert rig.stored_count == 2
    assert rig.stats().settled == 1


def test_a_paused_engine_asks_for_nothing() -> None:
    """While it is paused no request is made; when it is resumed it looks at once."""
    rig = new_rig(POLLED)
    rig.advance(100.0)
    rig.leases.pause()
    before = rig.stats().requests
    rig.send("1")
    rig.advance(HOUR_S)
    assert rig.stats().requests == before

    rig.leases.resume()

    assert len(rig.take()) == 1


def test_what_comes_while_it_is_paused_is_given_back() -> None:
    """A receive that was under way may still bring messages: they are given back at once."""

    def latency(command: Command) -> tuple[float, float]:
        return (0.0, 5.0) if isinstance(command, Receive) else (0.0, 0.0)

    rig = new_rig(latency=latency)
    rig.send("1")
    rig.advance(1.0)
    rig.leases.pause()
    rig.advance(5.0)

    assert rig.stats().released == 1
    assert rig_on(rig.clock, rig.server).take_one().message.body == b"1"


def test_a_paused_log_keeps_its_records() -> None:
    """Giving a log's records back would write them anew: they wait, and are given out later."""
    rig = new_rig(LOG)
    rig.send("1", "2")
    rig.advance(1.0)
    rig.leases.pause()
    rig.advance(HOUR_S)
    assert rig.take() == []
    assert "release" not in rig.stats().requests

    rig.leases.resume()

    assert [lease.message.body for lease in rig.take()] == [b"1", b"2"]


@pytest.mark.parametrize("traits", [LEASED, POLLED, HELD])
def test_close_drains(traits: Traits) -> None:
    """Closing gives back what was not begun, waits for what is at work, settles what is finished,
    and leaves nothing."""
    rig = new_rig(traits)
    rig.send("1", "2", "3")
    rig.advance(1.0)
    first, second = rig.leases.take_many(2)
    rig.leases.finish(first)
    rig.leases.begin_close()
    assert rig.take() == []
    rig.advance(10.0)
    assert rig.stats().running == 1
    rig.leases.finish(second)
    rig.advance(0.0)
    assert rig.leases.is_drained

    assert rig.leases.end_close() == Left()
    assert rig.stored_count == 1
    assert rig_on(rig.clock, rig.server).take_one().message.body == b"3"
    rig.stats()


def test_close_says_what_is_left() -> None:
    """What cannot be drained in time is told by kinds; it comes again, and nothing hangs."""
    rig = new_rig()
    rig.send("1", "2", "3")
    rig.advance(1.0)
    first, second = rig.leases.take_many(2)
    rig.server.fail("settle", FORBIDDEN)
    rig.server.fail("release", FORBIDDEN)
    rig.leases.finish(first)
    rig.leases.begin_close()
    rig.advance(10.0)

    left = rig.leases.end_close()

    assert left == Left(running=1, finished=1, unreleased=1)
    assert left
    assert rig.stats().left == 3
    rig.leases.finish(second)
    rig.leases.release(second)
    assert rig.leases.take() is None
    assert not rig.leases.close()
    other = rig_on(rig.clock, rig.server)
    rig.advance(100.0)
    assert len(other.take()) == 3


def test_closing_tries_to_settle_at_once() -> None:
    """However long settles have failed: closing tries again at once, and not after a long pause."""
    rig = new_rig()
    rig.server.fail("settle", FORBIDDEN)
    rig.send(*(str(number) for number in range(10)))
    rig.advance(1.0)
    for lease in rig.take():
        rig.leases.finish(lease)
    rig.advance(HOUR_S)
    rig.server.mend("settle")

    rig.leases.begin_close()
    rig.advance(0.0)

    assert rig.leases.end_close() == Left()
    assert rig.stored_count == 0


def test_a_log_is_closed() -> None:
    """A log's records that were not begun are not given back, only read again by the next."""
    rig = new_rig(LOG)
    rig.send("1", "2")
    rig.advance(1.0)
    rig.leases.begin_close()
    rig.advance(1.0)
    assert rig.leases.is_drained
    rig.leases.end_close()

    other = rig_on(rig.clock, rig.server)
    rig.advance(0.0)
    assert [lease.message.body for lease in other.take()] == [b"1", b"2"]
    assert "release" not in rig.stats().requests


def test_answers_that_come_after_the_end() -> None:
    """What a call brings that was under way when all was closed is counted, and held by nobody."""

    def latency(command: Command) -> tuple[float, float]:
        return (0.0, 5.0) if isinstance(command, Receive | Settle) else (0.0, 0.0)

    rig = new_rig(latency=latency)
    rig.send("1")
    rig.advance(6.0)
    lease = rig.take_one()
    rig.send("2")
    rig.advance(0.5)
    rig.leases.finish(lease)
    rig.advance(0.5)
    left = rig.leases.close()
    rig.advance(10.0)

    assert left == Left(finished=1)
    stats = rig.stats()
    assert (stats.received, stats.left, stats.held) == (2, 2, 0)
