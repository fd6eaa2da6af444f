"""How often the engine asks: enough to be quick, and no more than that."""

from itertools import pairwise
from random import Random

import pytest

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Traits
from eventpost.queues.leases import LeaseLimits
from eventpost.queues.leases.commands import Command, Receive
from eventpost.queues.leases.receiving import Receiving
from eventpost.testing.memory_queue import BUSY, FORBIDDEN, HELD, LEASED, LOG, POLLED
from tests.conftest import Say
from tests.queues.leases.rig import SEED, Rig, new_rig

HOUR_S = 3_600.0


def receives(rig: Rig) -> int:
    return rig.leases.stats().requests.get("receive", 0)


@pytest.mark.parametrize(
    ("traits", "requests_max"),
    [(LEASED, 181), (POLLED, 145), (HELD, 181), (LOG, 181)],
    ids=["leased", "polled", "held", "log"],
)
def test_idle_cost(traits: Traits, requests_max: int, figures: Say) -> None:
    """An idle queue costs a bounded number of requests in an hour, and none but receives."""
    rig = new_rig(traits)
    rig.advance(HOUR_S)

    figures(f"{receives(rig)} requests in an idle hour, waits of {traits.wait_s_max:g} s")
    assert set(rig.stats().requests) == {"receive"}
    assert 100 < receives(rig) <= requests_max


def test_the_pause_between_polls_grows() -> None:
    """Where the server does not wait, pauses double from the shortest to the longest."""
    rig = new_rig(POLLED)
    limits = rig.leases.limits
    times: list[float] = []
    while len(times) < 12:
        before = receives(rig)
        rig.advance(0.01)
        if receives(rig) > before:
            times.append(rig.clock.monotonic_s())

    pauses = [after - before for before, after in pairwise(times)]
    expected = [min(limits.idle_s_min * 2**number, limits.idle_s_max) for number in range(11)]
    for pause_s, expected_s in zip(pauses, expected, strict=True):
        assert abs(pause_s - expected_s) <= expected_s * 0.1 + 0.02


def test_pauses_may_grow_slowly() -> None:
    """By how much pauses grow is a setting: by a tenth each, a pause is about a tenth of the time
    since the last message, up to the longest."""
    limits = LeaseLimits(idle_growth=1.1, idle_s_max=0.75)
    receiving = Receiving(POLLED, limits, Random(SEED))
    now_s = 0.0
    for _ in range(50):
        receive = receiving.next(
            now_s, free_count=1, buffered_count=0, slots_count=64, lease_s=60.0
        )
        assert receive is not None
        receiving.ended(receive, now_s)
        receiving.came_empty(receive, now_s)
        wake_s = receiving.wake_s(free_count=1, buffered_count=0, slots_count=64)
        expected_s = min(max(0.2, 0.2 + now_s / 10), 0.75)
        assert abs(wake_s - now_s - expected_s) <= expected_s * 0.2
        now_s = wake_s


def test_a_hit_makes_it_quick_again() -> None:
    """After a message came the pauses begin with the shortest anew."""
    rig = new_rig(POLLED)
    rig.advance(600.0)
    rig.send("1")
    while not rig.take():
        rig.advance(0.1)

    rig.send("2")
    rig.advance(0.3)

    assert len(rig.take()) == 1


def test_a_nudge_makes_it_look_now() -> None:
    """Whoever knows that a message was sent does not wait for the pause to end."""
    rig = new_rig(POLLED)
    rig.advance(600.0)
    rig.send("1")
    assert rig.take() == []

    rig.leases.nudge()

    assert len(rig.take()) == 1


def test_nudges_are_no_storm() -> None:
    """However often it is nudged, it asks no more often than the shortest pause allows."""
    rig = new_rig(POLLED)
    rig.advance(600.0)
    before = receives(rig)

    for _ in range(1_000):
        rig.leases.nudge()
        rig.advance(0.01)

    assert receives(rig) - before <= 10.0 / rig.leases.limits.idle_s_min + 2


def test_a_long_poll_that_is_none() -> None:
    """A server that answers at once, where it was asked to wait, is not asked without end."""
    receiving = Receiving(LEASED, LeaseLimits(), Random(SEED))
    now_s, count = 0.0, 0
    while now_s < HOUR_S:
        receive = receiving.next(
            now_s, free_count=10, buffered_count=0, slots_count=64, lease_s=60.0
        )
        assert receive is not None
        assert receive.wait_s == 20.0
        now_s += 0.001
        count += 1
        receiving.ended(receive, now_s)
        receiving.came_empty(receive, now_s)
        now_s = receiving.wake_s(free_count=10, buffered_count=0, slots_count=64)

    assert count <= 145


def test_one_asks_while_nothing_comes_and_more_while_pages_are_full() -> None:
    """Receives run side by side only while full pages come."""
    under_way: list[int] = []

    def slow(command: Command) -> tuple[float, float]:
        if isinstance(command, Receive):
            assert rig.leases._book is not None
            under_way.append(rig.leases._book.receiving.call_count)
        return 0.05, 0.05

    rig = new_rig(
        limits=LeaseLimits(slots_max=100, receive_calls_max=3), latency=slow, is_started=False
    )
    rig.leases.start()
    rig.advance(100.0)
    assert max(under_way) == 1

    rig.send(*(str(number) for number in range(90)))
    rig.advance(5.0)
    assert max(under_way) == 3
    assert len(rig.take()) == 90

    under_way.clear()
    rig.advance(100.0)
    assert max(under_way) == 1


def test_a_log_is_read_by_one() -> None:
    """A log's records keep their order: one receive at a time."""
    rig = new_rig(LOG, limits=LeaseLimits(slots_max=100, receive_calls_max=3))
    rig.send(*(str(number) for number in range(100)))
    rig.advance(5.0)

    assert [lease.message.body for lease in rig.take()] == [str(i).encode() for i in range(100)]


def test_a_request_is_worth_it() -> None:
    """While something waits to be taken, it is not asked for one message at a time."""
    rig = new_rig(limits=LeaseLimits(slots_max=20))
    rig.send(*(str(number) for number in range(120)))
    rig.advance(1.0)

    finished = 0
    while finished < 120:
        for lease in rig.take(1):
            rig.leases.finish(lease)
            finished += 1
        rig.advance(0.05)

    assert receives(rig) <= 120 / 10 + 3


# --- failures -------------------------------------------------------------------------------------


def test_failures_are_spaced_and_told_once(figures: Say) -> None:
    """While receiving fails it is tried at a growing pace, and told now and then with a count."""
    rig = new_rig()
    rig.server.fail("receive", FORBIDDEN)
    rig.advance(0.0)
    rig.leases.nudge()
    rig.advance(HOUR_S)

    tries = receives(rig)
    figures(f"{tries} receives in an hour of refusals")
    assert 120 <= tries <= 300, "between the longest pause and half of it on average"
    told = rig.heard.of("receive_failed")
    assert 50 <= len(told) <= 61
    assert sum(count for _, count, _ in told) <= tries
    failed, count, delay_s = told[0]
    assert failed.evidence.code == "AccessDenied"
    assert count == 1
    assert 0.0 <= delay_s <= rig.leases.limits.receive_delay_s_min
    stats = rig.stats()
    assert stats.failures == {"receive:AccessDenied": tries}
    assert stats.last_failures["receive"].evidence.code == "AccessDenied"


def test_another_kind_of_failure_is_told_at_once() -> None:
    """Each kind of failure is told by itself: a new one is not hidden by an old one."""
    rig = new_rig()
    rig.server.fail("receive", FORBIDDEN)
    rig.advance(30.0)
    rig.server.fail("receive", BUSY)
    rig.advance(29.0)

    codes = [failed.evidence.code for failed, _, _ in rig.heard.of("receive_failed")]
    assert codes == ["AccessDenied", "ServerBusy"]


def test_receiving_recovers() -> None:
    """After an outage messages come again within the longest pause, and its length is told."""
    rig = new_rig()
    rig.server.fail("receive", BUSY)
    rig.leases.nudge()
    rig.advance(600.0)
    rig.send("1")
    rig.server.mend("receive")

    rig.advance(rig.leases.limits.receive_delay_s_max)

    assert len(rig.take()) == 1
    [(outage_s,)] = rig.heard.of("receive_recovered")
    assert 580.0 <= outage_s <= 631.0


def test_an_outage_ends_with_the_first_answer() -> None:
    """While it lasts, polls are short: that it is over is known without a message that comes. What
    fails is known at each moment, also when it is not told again yet."""
    rig = new_rig(limits=LeaseLimits(tell_s=HOUR_S))
    for _ in range(2):
        rig.server.fail("receive", BUSY)
        rig.leases.nudge()
        rig.advance(60.0)
        failing = rig.stats().failing
        assert {name: one.evidence.code for name, one in failing.items()} == {
            "receive": "ServerBusy"
        }

        rig.server.mend("receive")
        rig.advance(rig.leases.limits.receive_delay_s_max)

        assert rig.stats().failing == {}
    assert len(rig.heard.of("receive_failed")) == 1
    assert len(rig.heard.of("receive_recovered")) == 2


def test_a_nudge_does_not_shorten_a_failures_pause() -> None:
    """Local sends do not make it ask more often while asking fails."""
    rig = new_rig()
    rig.server.fail("receive", BUSY)
    rig.advance(600.0)
    before = receives(rig)

    for _ in range(100):
        rig.leases.nudge()
        rig.advance(0.6)

    assert receives(rig) - before <= 10


# --- what is known to be finished -----------------------------------------------------------------


def test_a_look_up_that_fails() -> None:
    """While nobody can say what is finished nothing is given out; then everything is, once."""
    is_broken = True

    def known(ids: object) -> list[str]:
        if is_broken:
            raise OSError("disk I/O error")
        return ["m-2"]

    rig = new_rig(known=known)
    rig.send("1", "2", "3")
    rig.advance(20.0)
    assert rig.take() == []
    told = rig.heard.of("receive_failed")
    assert "disk I/O error" in told[0][0].evidence.detail
    assert told[0][0].evidence.operation == "known"
    is_broken = False
    rig.advance(30.0)

    taken = rig.take()
    assert sorted(lease.message.body for lease in taken) == [b"1", b"3"]
    for lease in taken:
        rig.leases.finish(lease)
    rig.advance(1.0)
    assert rig.stored_count == 0
    assert rig.stats().redelivered_finished == 1


def test_a_look_up_that_fails_for_longer_than_a_lease() -> None:
    """A page that waited longer than its leases is not given out; its messages come again."""
    is_broken = True

    def known(ids: object) -> list[str]:
        if is_broken:
            raise OSError("disk I/O error")
        return []

    rig = new_rig(known=known)
    rig.send("1")
    rig.advance(200.0)
    is_broken = False
    rig.advance(100.0)

    lease = rig.take_one()
    assert lease.message.receive_count == 2
    assert rig.stats().lost_unstarted == 1


def test_a_queue_that_breaks_its_contract() -> None:
    """A queue that raises, or answers with too few verdicts, ends no hand of the engine."""
    rig = new_rig()
    rig.send("1")
    rig.advance(1.0)
    queue = rig.leases.queue
    lease = rig.take_one()
    real = queue.settle
    queue.settle = lambda held: []  # type: ignore[method-assign]
    rig.leases.finish(lease)
    rig.advance(1.0)

    def broken(held: object) -> list[Failed]:
        raise ZeroDivisionError("a bug")

    queue.settle = broken  # type: ignore[method-assign]
    rig.advance(20.0)
    details = [failed.evidence.detail for failed, _, _ in rig.heard.of("settle_failed")]
    assert "0 verdicts on 1 messages" in details[0]
    queue.settle = real  # type: ignore[method-assign]
    rig.advance(60.0)

    assert rig.stored_count == 0
    assert rig.stats().settled == 1
