"""Locks in memory, as data."""

import pytest

from eventpost.core.events import Delivery, Event
from eventpost.grid.checkpoint import LockRecord
from eventpost.grid.locks import NEVER_MS, Locks


def delivery(position: int, size: int = 10) -> Delivery:
    return Delivery(Event(f"e{position}", "T", "s", b"x" * size), position, 0, 0)


@pytest.fixture
def locks() -> Locks:
    """One lock of 1, 2, 3, 7 until 100, another of 4, 5 until 50."""
    made = Locks()
    made.add(11, 100, map(delivery, (1, 2, 3, 7)))
    made.add(12, 50, map(delivery, (4, 5)))
    return made


@pytest.mark.parametrize(("now_ms", "is_held"), [(0, True), (99, True), (100, False), (101, False)])
def test_a_lock_is_over_at_its_time(locks: Locks, now_ms: int, is_held: bool) -> None:
    """Until its time, and not at it, though nobody has looked in between."""
    assert (locks.take(11, 2, now_ms) is not None) is is_held


def test_an_event_leaves_its_lock_once(locks: Locks) -> None:
    """What was taken out is not there any more, nor under another lock."""
    assert locks.take(12, 2, 0) is None
    assert locks.take(11, 2, 0) is not None
    assert locks.take(11, 2, 0) is None
    assert locks.take(13, 2, 0) is None


def test_events_and_bytes_are_counted(locks: Locks) -> None:
    """Whatever way an event goes, the sums are those of what is held."""
    assert (locks.count, locks.size) == (6, 60)
    locks.take(11, 2, 0)
    assert (locks.count, locks.size) == (5, 50)
    assert [each.position for each in locks.take_expired(50)] == [4, 5]
    assert (locks.count, locks.size) == (3, 30)
    assert [each.position for _, each in locks.take_below(3)] == [1]
    assert (locks.count, locks.size) == (2, 20)
    assert sorted(locks.take_oldest().held) == [3, 7]
    assert (locks.count, locks.size) == (0, 0)


def test_the_first_end(locks: Locks) -> None:
    """The earliest time at which one of them is over, or never."""
    assert locks.expires_ms == 50
    locks.take_expired(50)
    assert locks.expires_ms == 100
    locks.clear()
    assert locks.expires_ms == NEVER_MS


def test_they_are_told_as_records(locks: Locks) -> None:
    """One record for each lock, with what it holds still, as ranges."""
    locks.take(12, 4, 0)

    assert locks.records() == [LockRecord(11, 100, [1, 4, 7, 8]), LockRecord(12, 50, [5, 6])]
    assert (locks.until_ms(7), locks.until_ms(5), locks.until_ms(4)) == (100, 50, 0)
