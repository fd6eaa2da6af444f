"""What is in hand of the partitions that are ours, and when they pause."""

from typing import Any

import pytest

from eventpost.queues.interfaces import Received
from eventpost.queues.kafka.assigned import Assigned
from eventpost.queues.kafka.records import Place, Receipt
from eventpost.queues.kafka.settings import Options

HERE, THERE = Place("songs", 0), Place("songs", 1)


def assigned(**options: Any) -> Assigned:
    found = Assigned(Options(**options))
    found.gain([(HERE, -1, None), (THERE, -1, None)])
    return found


def record(offset: int, place: Place = HERE, generation: int = 1) -> Received:
    return Received(id="", body=b"", receipt=Receipt(place, offset, generation))


@pytest.mark.parametrize(("ready_count", "room"), [(0, 10), (9, 1), (10, 0), (11, 0)])
def test_room_for_records(ready_count: int, room: int) -> None:
    """There is room up to `prefetch` records that nobody took yet."""
    ours = assigned(prefetch=10)
    ours.ready.extend(record(offset) for offset in range(ready_count))

    assert ours.room == room


def test_room_comes_back_at_half() -> None:
    """Once there was none, there is none until half of the records were taken."""
    ours = assigned(prefetch=10)
    ours.ready.extend(record(offset) for offset in range(10))
    assert ours.room == 0

    for left, room in ((6, 0), (5, 0), (4, 6)):
        while len(ours.ready) > left:
            ours.ready.popleft()
        assert ours.room == room


@pytest.mark.parametrize(("taken_count", "is_paused"), [(4, False), (5, True), (6, True)])
def test_a_partition_pauses_at_its_bound(taken_count: int, *, is_paused: bool) -> None:
    """At `unfinished_max` records above the first unfinished one, and only that partition."""
    ours = assigned(unfinished_max=5)
    for offset in range(taken_count):
        ours.take(record(offset))

    assert ours.pauses(are_all=False) == ({HERE} if is_paused else set(), set())
    ours.finish(record(0))
    ours.finish(record(1))
    assert ours.pauses(are_all=False) == (set(), {HERE} if is_paused else set())


def test_all_pause() -> None:
    """When nobody takes anything all pause, once, and go on together."""
    ours = assigned()

    assert ours.pauses(are_all=True) == ({HERE, THERE}, set())
    assert ours.pauses(are_all=True) == (set(), set())
    assert ours.pauses(are_all=False) == (set(), {HERE, THERE})


def test_a_partition_sleeps_while_its_head_waits() -> None:
    """A copy that is not to be looked at pauses its partition until it is."""
    ours = assigned()
    ours.take(record(0))
    ours.sleep(1_000, record(0))
    assert ours.pauses(are_all=False) == ({HERE}, set())

    assert ours.wake(999) == []
    assert len(ours.wake(1_000)) == 1
    assert ours.pauses(are_all=False) == (set(), {HERE})


@pytest.mark.parametrize(("count", "is_paused"), [(9, False), (10, True)])
def test_copies_that_are_due_soon_are_bounded(count: int, *, is_paused: bool) -> None:
    """A partition pauses with `prefetch` copies of it in memory that are due soon, not before, and
    goes on when one of them is due."""
    ours = assigned(prefetch=10)
    for offset in range(count):
        ours.take(record(offset))
        ours.wait(1_000 + offset, record(offset))

    assert ours.pauses(are_all=False) == ({HERE} if is_paused else set(), set())
    assert len(ours.wake(1_000)) == 1
    assert ours.pauses(are_all=False) == (set(), {HERE} if is_paused else set())


def test_what_went_is_not_ours() -> None:
    """Of a partition that went nothing is kept, and nothing of it can be finished, also when it
    has come back."""
    ours = assigned()
    for place in (HERE, THERE):
        for offset in range(3):
            ours.take(record(offset, place))
    ours.ready.extend([record(0), record(0, THERE)])
    ours.released.put(0.0, record(1))
    ours.sleep(0, record(2))
    ours.wait(0, record(2))

    ours.lose([HERE])
    ours.gain([(HERE, 0, None)])

    assert [one.receipt for one in ours.ready] == [record(0, THERE).receipt]
    assert (len(ours.released), len(ours.later)) == (0, 0)
    assert not ours.finish(record(1))
    assert not ours.holds(record(1))
    assert ours.finish(record(1, THERE))
    assert ours.mark(HERE) == (0, "")


def test_a_committed_place_is_gone_on_from() -> None:
    """What is committed, and what is finished above it, is known when a partition comes."""
    ours = Assigned(Options())
    ours.gain([(HERE, 7, "ep1:1-2")])

    assert [ours.take(record(offset)) for offset in (7, 8, 9, 10)] == [True, False, False, True]
