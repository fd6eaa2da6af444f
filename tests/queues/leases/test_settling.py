"""What is finished gets settled: later if need be, and never by keeping anybody waiting."""

import pytest

from eventpost.queues.interfaces import Traits
from eventpost.queues.leases import LeaseLimits
from eventpost.queues.leases.commands import Command, Settle
from eventpost.testing.memory_queue import (
    BUSY,
    FORBIDDEN,
    HELD,
    LEASED,
    LOG,
    POLLED,
    RESET,
    Mishap,
)
from tests.conftest import Say
from tests.queues.leases.rig import Rig, new_rig, rig_on

HOUR_S = 3_600.0


def run(rig: Rig, count: int, seconds: float) -> int:
    """Work through `count` messages, a second at a time; how many were begun."""
    begun = 0
    while begun < count and seconds > 0:
        for lease in rig.take():
            rig.leases.finish(lease)
            begun += 1
        rig.advance(1.0)
        seconds -= 1.0
    return begun


@pytest.mark.parametrize("traits", [LEASED, POLLED, HELD, LOG])
def test_work_goes_on_while_settles_fail(traits: Traits) -> None:
    """Messages are worked on at full speed while nothing can be settled, each once, and all of them
    are settled soon after it works again."""
    rig = new_rig(traits, limits=LeaseLimits(slots_max=8))
    rig.server.fail("settle", FORBIDDEN)
    rig.send(*(str(number) for number in range(300)))

    begun = run(rig, 300, 400.0)
    rig.advance(200.0)

    assert begun == 300
    assert rig.take() == []
    stats = rig.stats()
    assert (stats.pending_settles, stats.slots_used, stats.running) == (300, 0, 0)
    assert rig.stored_count == 300
    rig.server.mend("settle")
    rig.advance(rig.leases.limits.settle_delay_s_late + 1.0)
    assert rig.stored_count == 0
    assert rig.stats().settled == 300
    assert rig.stats().pending_settles == 0


def test_an_outage_costs_few_requests(figures: Say) -> None:
    """While settles fail it is one call at a time, at a growing pace, however many wait; and their
    leases are lengthened, so that keeping them costs little."""
    rig = new_rig()
    rig.server.fail("settle", FORBIDDEN)
    rig.send(*(str(number) for number in range(500)))
    assert run(rig, 500, 100.0) == 500
    before = rig.stats().requests

    rig.advance(HOUR_S)

    after = rig.stats().requests
    settles = after["settle"] - before["settle"]
    extends = after["extend"] - before.get("extend", 0)
    figures(f"500 pending for an hour: {settles} settles, {extends} extends")
    assert 100 <= settles <= 400
    assert extends <= 50 * (HOUR_S / 300.0 + 2)
    assert rig.stats().lost == 0


def test_the_first_tries_are_quick() -> None:
    """A hiccup of a second delays a settle by seconds, not by a lease."""
    rig = new_rig()
    rig.server.fail("settle", BUSY)
    rig.send("1")
    rig.advance(0.0)
    rig.leases.finish(rig.take_one())
    rig.advance(1.0)
    assert rig.stats().requests["settle"] >= 3
    rig.server.mend("settle")
    rig.advance(5.0)

    assert rig.stored_count == 0


def test_failures_are_told_once_and_recovery_too() -> None:
    """An outage is told now and then with a count, and its end once, with what still waits."""
    rig = new_rig()
    rig.server.fail("settle", FORBIDDEN)
    rig.send(*(str(number) for number in range(50)))
    run(rig, 50, 10.0)
    rig.advance(110.0)
    told = rig.heard.of("settle_failed")
    assert len(told) == 2
    assert told[0][0].evidence.code == "AccessDenied"
    assert told[1][2] == 50

    rig.server.mend("settle")
    rig.advance(31.0)

    [(outage_s, pending_count)] = rig.heard.of("settle_recovered")
    assert 110.0 <= outage_s <= 150.0
    assert pending_count == 40
    assert rig.stats().settled == 50


def test_entries_fail_one_by_one() -> None:
    """An entry that is refused beside others that are not is tried again by itself; the others are
    settled, and nothing waits behind it."""
    rig = new_rig()
    rig.server.fail("settle", Mishap(failed=BUSY, ids={"m-2", "m-5"}))
    rig.send(*(str(number) for number in range(10)))
    rig.advance(0.0)
    for lease in rig.take():
        rig.leases.finish(lease)
    rig.advance(0.03)
    assert rig.stored_count == 2
    rig.send("later")
    rig.advance(1.0)
    rig.leases.finish(rig.take_one())
    rig.advance(10.0)

    assert rig.stored_count == 2
    assert rig.heard.of("settle_recovered") == [] or rig.stats().settled == 9
    rig.server.mend("settle")
    rig.advance(31.0)
    assert rig.stored_count == 0


def test_entries_that_never_settle_block_nobody() -> None:
    """However many entries the server refuses for ever, all others are settled."""
    rig = new_rig()
    refused = {f"m-{number}" for number in range(1, 31)}
    rig.server.fail("settle", Mishap(failed=BUSY, ids=refused))
    rig.send(*(str(number) for number in range(200)))

    assert run(rig, 200, 200.0) == 200
    rig.advance(60.0)

    assert rig.stored_count == 30
    assert rig.stats().pending_settles == 30


def test_the_answer_was_lost() -> None:
    """When the server settled and its answer was lost, the next try finds it gone, and all is well.

    A lost answer is no lost message, and none that comes again."""
    rig = new_rig()
    rig.server.fail("settle", Mishap(failed=RESET, is_after=True))
    rig.send(*(str(number) for number in range(20)))
    run(rig, 20, 10.0)
    assert rig.stored_count == 0
    assert rig.stats().pending_settles == 20
    rig.server.mend("settle")
    rig.advance(31.0)

    stats = rig.stats()
    assert (stats.settled, stats.pending_settles, stats.redelivered_finished) == (20, 0, 0)


def test_the_answer_is_awaited_for_a_moment() -> None:
    """While a settle is under way nothing else is done about its message."""

    def latency(command: Command) -> tuple[float, float]:
        return (30.0, 30.0) if isinstance(command, Settle) else (0.0, 0.0)

    rig = new_rig(latency=latency)
    rig.send("1")
    rig.advance(0.0)
    rig.leases.finish(rig.take_one())
    rig.advance(59.0)
    rig.stats()
    rig.advance(2.0)

    assert rig.stats().settled == 1
    assert "extend" not in rig.stats().requests


@pytest.mark.parametrize("traits", [LEASED, POLLED, HELD])
def test_what_is_gone_for_good_is_told(traits: Traits) -> None:
    """What was settled while its lease held is told, once: it need not be remembered."""
    rig = new_rig(traits)
    rig.send(*(str(number) for number in range(10)))
    rig.advance(1.0)
    taken = rig.take()
    for lease in taken:
        rig.leases.finish(lease)
    rig.advance(1.0)

    assert rig.heard.of("settled") == [(lease,) for lease in taken]


def test_what_may_come_again_is_not_told_to_be_gone() -> None:
    """A settle after the lease may have done nothing, whatever the server says, and a log's may be
    undone by a reader that dies: neither is told."""
    rig = new_rig()
    rig.send("1")
    rig.advance(0.0)
    lease = rig.take_one()
    rig.server.fail("extend", BUSY)
    rig.server.fail("receive", BUSY)
    rig.advance(61.0)
    rig.leases.finish(lease)
    rig.advance(1.0)
    log = new_rig(LOG)
    log.send("1")
    log.advance(1.0)
    log.leases.finish(log.take_one())
    log.advance(1.0)

    assert rig.stored_count == log.stored_count == 0
    assert rig.heard.of("settled") == log.heard.of("settled") == []


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "abandoned"), [(49, 0), (50, 0), (51, 1)])
def test_pending_settles_are_bounded(count: int, abandoned: int) -> None:
    """Beyond the bound the oldest is left to come again; it is known, and not done again."""
    rig = new_rig(limits=LeaseLimits(pending_max=50))
    rig.server.fail("settle", FORBIDDEN)
    rig.send(*(str(number) for number in range(count)))
    assert run(rig, count, 100.0) == count

    stats = rig.stats()
    assert stats.abandoned == abandoned
    assert stats.pending_settles == count - abandoned
    assert len(rig.heard.of("settle_abandoned")) == abandoned
    rig.advance(200.0)
    assert rig.take() == []
    rig.server.mend("settle")
    rig.advance(1_000.0)
    assert rig.take() == []
    assert rig.stored_count == 0


@pytest.mark.parametrize("traits", [HELD])
def test_pending_settles_are_bounded_without_ids(traits: Traits) -> None:
    """Where a redelivery cannot be told, nothing more is received at the bound: what is finished is
    done once, and work goes on when it is settled."""
    rig = new_rig(traits, limits=LeaseLimits(pending_max=50, slots_max=10))
    rig.server.fail("settle", FORBIDDEN)
    rig.send(*(str(number) for number in range(100)))

    begun = run(rig, 100, 60.0)

    assert 50 <= begun <= 60
    assert rig.stats().abandoned == 0
    rig.server.mend("settle")
    assert begun + run(rig, 100 - begun, 60.0) == 100
    rig.advance(31.0)
    assert rig.stored_count == 0
    assert rig.stats().settled == 100


def test_a_settle_is_not_tried_for_ever() -> None:
    """After the longest time that a message can be kept its settle is given up, and told."""
    rig = new_rig(limits=LeaseLimits(pending_s_max=HOUR_S))
    rig.server.fail("settle", FORBIDDEN)
    rig.send("1")
    rig.advance(0.0)
    rig.leases.finish(rig.take_one())
    rig.advance(HOUR_S - 1.0)
    assert rig.stats().pending_settles == 1

    rig.advance(60.0)

    assert rig.stats().pending_settles == 0
    assert rig.stats().abandoned == 1
    assert len(rig.heard.of("settle_abandoned")) == 1


def test_finished_messages_hold_no_content() -> None:
    """Ten thousand finished messages cost what their receipts cost, not what they carried."""
    rig = new_rig()
    rig.server.fail("settle", FORBIDDEN)
    rig.send(*("x" * 4_000 for _ in range(100)))
    assert run(rig, 100, 100.0) == 100

    assert rig.stats().pending_settles == 100
    assert rig.stats().held_bytes == 0


# --- releases -------------------------------------------------------------------------------------


def test_a_release_that_fails_is_tried_while_the_lease_lasts() -> None:
    """A message that could not be given back comes again when its lease ends, at the latest."""
    rig = new_rig()
    rig.server.fail("release", BUSY)
    rig.send("1", "2")
    rig.advance(0.0)
    for lease in rig.take():
        rig.leases.release(lease)
    rig.advance(10.0)
    assert rig.stats().pending_releases == 2
    assert rig.stats().slots_used == 0
    rig.server.mend("release")
    rig.advance(6.0)
    first, second = rig.take()
    assert rig.stats().released == 2

    rig.server.fail("release", BUSY)
    rig.leases.release(first, 900.0)
    rig.leases.release(second, 900.0)
    rig.advance(61.0)
    assert rig.stats().pending_releases == 0
    assert len(rig.take()) == 2
    assert len(rig.heard.of("release_failed")) == 2


def test_releases_of_one_delay_go_together() -> None:
    """Messages that are released with the same delay share a request, others do not."""
    rig = new_rig()
    rig.send(*(str(number) for number in range(9)))
    rig.advance(0.0)
    for number, lease in enumerate(rig.take()):
        rig.leases.release(lease, float(number % 3))
    rig.advance(0.0)

    assert rig.stats().released == 9
    assert rig.stats().requests["release"] <= 4


def test_settles_and_releases_take_turns() -> None:
    """Neither waits for the end of the other."""
    order: list[str] = []

    def latency(command: Command) -> tuple[float, float]:
        name = type(command).__name__
        if name in ("Settle", "Release"):
            order.append(name)
        return 0.01, 0.0

    rig = new_rig(limits=LeaseLimits(slots_max=200, settle_calls_max=1), latency=latency)
    rig.send(*(str(number) for number in range(120)))
    rig.advance(1.0)
    for number, lease in enumerate(rig.take()):
        if number % 2:
            rig.leases.finish(lease)
        else:
            rig.leases.release(lease, 900.0)
    rig.advance(1.0)

    assert order[:4] in (["Settle", "Release"] * 2, ["Release", "Settle"] * 2)
    assert (rig.stats().settled, rig.stats().released) == (60, 60)


def test_the_channel_is_gone() -> None:
    """Where a lost connection voids what it delivered, a settle is lost, frees everything, and the
    message comes again."""
    rig = new_rig(HELD)
    rig.send("1")
    rig.advance(0.0)
    lease = rig.take_one()
    shelf = rig.server.shelf("songs")
    assert shelf is not None
    shelf.let_go(rig.leases.queue)

    rig.leases.finish(lease)
    rig.advance(1.0)

    assert rig.stats().lost == 1
    assert rig.take_one().message.body == b"1"


def test_pending_settles_do_not_stop_a_second_engine() -> None:
    """While one process cannot settle, another gets what is left, and only that."""
    rig = new_rig()
    rig.send(*(str(number) for number in range(5)))
    rig.advance(0.0)
    rig.server.fail("settle", FORBIDDEN)
    run(rig, 5, 10.0)
    other = rig_on(rig.clock, rig.server)
    rig.send("new")
    rig.advance(HOUR_S)

    taken = [*other.take(), *rig.take()]
    assert [lease.message.body for lease in taken] == [b"new"]


def test_many_finished_at_once_are_settled_together() -> None:
    """Messages finished in one go fill the batches that the system takes; what is not at work, or
    was finished before, is left alone."""
    rig = new_rig(limits=LeaseLimits(settle_linger_s=0.0))
    rig.send(*(str(number) for number in range(10)))
    rig.advance(0.0)
    leases = rig.take()
    assert len(leases) == 10
    rig.leases.release(leases[0], 60.0)
    rig.advance(1.0)
    before = rig.stats().requests.get("settle", 0)

    rig.leases.finish_many(leases)
    rig.leases.finish_many(leases)
    rig.leases.finish_many([])
    rig.advance(1.0)

    assert rig.stats().requests["settle"] - before == 1
    assert rig.stats().settled == 9
    assert rig.stored_count == 1  # what was released comes again
