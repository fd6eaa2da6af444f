"""What the engine gives out, and what becomes of it."""

import pytest

from eventpost.queues.interfaces import Traits
from eventpost.queues.leases import LeaseLimits
from eventpost.testing.memory_queue import HELD, LEASED, LOG, POLLED
from tests.queues.leases.rig import Rig, new_rig, rig_on


@pytest.mark.parametrize("traits", [LEASED, POLLED, HELD, LOG])
def test_finished_messages_are_gone(traits: Traits) -> None:
    """What was finished is settled, and nothing of it is held any more."""
    rig = new_rig(traits)
    rig.send(*(str(number) for number in range(25)))
    rig.advance(1.0)

    taken = rig.take()
    assert sorted(int(lease.message.body) for lease in taken) == list(range(25))
    for lease in taken:
        assert rig.leases.finish(lease) is False
    rig.advance(1.0)

    assert rig.stored_count == 0
    stats = rig.stats()
    assert (stats.received, stats.taken, stats.settled, stats.held) == (25, 25, 25, 0)
    assert rig.leases.finish(taken[0]) is True, "it is known how it ended"


@pytest.mark.parametrize("traits", [LEASED, POLLED, HELD, LOG])
def test_released_messages_come_again(traits: Traits) -> None:
    """What was released comes again, after its delay and not before."""
    rig = new_rig(traits)
    rig.send("1")
    rig.advance(1.0)
    rig.leases.release(rig.take_one(), 100.0)

    rig.advance(90.0)
    assert rig.take() == []
    rig.advance(50.0)

    lease = rig.take_one()
    assert lease.message.body == b"1"
    rig.leases.finish(lease)
    rig.advance(1.0)
    assert rig.stored_count == 0
    stats = rig.stats()
    assert (stats.released, stats.settled) == (1, 1)


def test_a_release_is_cut_to_what_the_system_can() -> None:
    """A longer delay than the system has is cut, a negative one is none."""
    rig = new_rig()
    rig.send("1")
    rig.advance(1.0)
    rig.leases.release(rig.take_one(), -5.0)
    rig.advance(1.0)
    rig.leases.release(rig.take_one(), 1e9)
    rig.advance(1.0)

    assert rig.stats().released == 2
    assert rig.server.next_visible_s("songs") <= rig.clock.monotonic_s() + 43_200.0


def test_a_page_travels_in_one_request() -> None:
    """Ten messages that are finished together are one request to settle, not ten."""
    rig = new_rig()
    rig.send(*(str(number) for number in range(10)))
    rig.advance(1.0)

    for lease in rig.take():
        rig.leases.finish(lease)
    rig.advance(1.0)

    assert rig.stats().requests["settle"] == 1
    assert rig.server.requests["settle"] == 1


def test_a_single_message_does_not_linger_for_long() -> None:
    """A message that is finished alone is settled within the time that it waits for company."""
    rig = new_rig()
    rig.send("1")
    rig.advance(1.0)
    rig.leases.finish(rig.take_one())

    rig.advance(rig.leases.limits.settle_linger_s / 2)
    assert rig.stored_count == 1
    rig.advance(rig.leases.limits.settle_linger_s / 2)
    assert rig.stored_count == 0


@pytest.mark.parametrize("slots_max", [1, 2, 9, 10, 11, 64])
def test_no_more_is_held_than_there_are_slots(slots_max: int) -> None:
    """What waits and what is at work fills the slots and no more; a freed slot is filled again."""
    rig = new_rig(limits=LeaseLimits(slots_max=slots_max))
    rig.send(*(str(number) for number in range(200)))
    done = 0
    held = []
    while done < 200:
        rig.advance(0.1)
        assert rig.stats().slots_used <= slots_max
        held += rig.take(7)
        assert len(held) <= slots_max
        for lease in held[:5]:
            rig.leases.finish(lease)
        done += len(held[:5])
        held = held[5:]
    rig.advance(1.0)

    assert rig.stored_count == 0
    assert rig.stats().slots_used == 0


QUICK = LeaseLimits(slots_max=16, quick_s=0.25)
PAGE = LEASED.receive_count_max


def work(rig: Rig, count: int, pause_s: float) -> list[int]:
    """Finish so many, one every `pause_s`; how many were held at each time."""
    held = []
    waiting = rig.take()
    for _ in range(count):
        rig.leases.finish(waiting.pop(0))
        rig.advance(pause_s)
        waiting += rig.leases.take_many(1)
        held.append(rig.stats().slots_used)
    for lease in waiting:
        rig.leases.release(lease)
    return held


@pytest.mark.parametrize(
    ("pause_s", "held_max"), [(0.25 / PAGE, 16 + PAGE), (0.25 / (PAGE - 2), 16)]
)
def test_quick_work_is_fetched_ahead(pause_s: float, held_max: int) -> None:
    """While as many as a page are finished within the moment that is set, a page more than the
    slots is held; when it takes longer, no more than the slots are."""
    rig = new_rig(limits=QUICK)
    rig.send(*(str(number) for number in range(400)))
    rig.advance(0.1)

    assert max(work(rig, 60, pause_s)) == held_max


def test_work_that_is_quick_no_more() -> None:
    """When work takes longer again, no more than the slots are fetched again."""
    rig = new_rig(limits=QUICK)
    rig.send(*(str(number) for number in range(400)))
    rig.advance(0.1)
    assert max(work(rig, 40, 0.01)) == 16 + PAGE

    slow = work(rig, 40, 1.0)

    assert max(slow[PAGE:]) == 16


def test_slots_are_full_when_work_is_slow() -> None:
    """All slots are in use while messages wait: a free one is never forgotten."""
    rig = new_rig(limits=LeaseLimits(slots_max=15))
    rig.send(*(str(number) for number in range(50)))
    rig.advance(1.0)
    taken = rig.take()
    rig.advance(1.0)
    taken += rig.take()

    assert len(taken) == 15
    rig.leases.finish(taken.pop())
    rig.advance(1.0)
    assert len(rig.take()) == 1
    assert rig.stats().slots_used == 15


@pytest.mark.parametrize(("size", "held_count"), [(99, 20), (100, 10), (101, 10)])
def test_bytes_held_are_bounded(size: int, held_count: int) -> None:
    """Beyond its bytes nothing more is received; one page may pass it."""
    rig = new_rig(limits=LeaseLimits(held_bytes_max=1_000, receive_calls_max=1))
    rig.send(*("x" * size for _ in range(60)))
    rig.advance(1.0)

    stats = rig.stats()
    assert stats.held == held_count
    assert stats.held_bytes == held_count * size
    for lease in rig.take():
        rig.leases.finish(lease)
    assert rig.stats().held_bytes == 0, "what is finished holds no content"
    rig.advance(1.0)
    assert len(rig.take()) == held_count


def test_it_tells_when_something_is_ready() -> None:
    """`on_ready` is called when messages come, and not while none do."""
    calls: list[int] = []
    rig = new_rig(on_ready=lambda: calls.append(1))
    rig.advance(100.0)
    assert calls == []

    rig.send("1", "2")
    rig.advance(1.0)

    assert calls == [1]
    assert rig.heard.of("received") == [(2,)]
    assert len(rig.take(1)) == 1
    assert len(rig.take(5)) == 1


def test_what_is_not_at_work_is_left_alone() -> None:
    """Finishing or releasing once more, or what another engine holds, changes nothing."""
    rig = new_rig()
    other = rig_on(rig.clock, rig.server)
    rig.send("1")
    rig.advance(1.0)
    taken = [*rig.take(), *other.take()]
    [lease] = taken
    mine, theirs = (rig, other) if rig.stats().running else (other, rig)

    theirs.leases.finish(lease)
    theirs.leases.release(lease)
    mine.leases.release(lease)
    mine.leases.finish(lease)
    mine.leases.release(lease, 50.0)
    rig.advance(1.0)

    assert mine.stats().released == 1
    assert theirs.stats().received == 1 - mine.stats().held


def test_a_mistake_of_a_listener_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """What a listener raises ends no engine, and is logged with where it was raised."""

    def fail() -> None:
        raise ZeroDivisionError("a bug")

    rig = new_rig(on_ready=fail)
    rig.send("1")
    rig.advance(1.0)

    rig.leases.finish(rig.take_one())
    rig.advance(1.0)

    assert rig.leases.stats().listener_errors == 1
    assert "ZeroDivisionError: a bug" in caplog.text
    assert rig.stored_count == 0


def test_nothing_is_opened_before_it_is_used() -> None:
    """An engine that nobody started has opened nothing, and can be asked and closed."""
    rig = new_rig(is_started=False)

    rig.leases.pause()
    assert rig.leases.stats().is_paused
    rig.leases.resume()
    rig.leases.nudge()
    assert rig.leases.is_drained
    assert not rig.leases.close()
    assert rig.leases.take() is None
    assert rig.server.requests == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slots_max", 0),
        ("lease_s", -1.0),
        ("idle_s_min", 31.0),
        ("idle_growth", 0.9),
        ("lease_s", 43_201.0),
    ],
)
def test_limits_that_cannot_be(name: str, value: float) -> None:
    """A bound that is not positive, or above the one that bounds it, is refused by its name."""
    with pytest.raises(ValueError, match=name):
        LeaseLimits(**{name: value})  # type: ignore[arg-type]
