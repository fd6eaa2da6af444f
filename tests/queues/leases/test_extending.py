"""The heartbeat: every message that is held stays ours, or is known to be lost."""

import pytest

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Traits
from eventpost.queues.leases import LeaseLimits, LostReason
from eventpost.queues.leases.commands import Command, Extend, Receive
from eventpost.testing.memory_queue import (
    BUSY,
    FORBIDDEN,
    HELD,
    LEASED,
    POLLED,
    RESET,
    Mishap,
    refusal,
)
from tests.queues.leases.rig import new_rig, rig_on

HOUR_S = 3_600.0


@pytest.mark.parametrize("traits", [LEASED, POLLED])
def test_long_work_is_not_done_twice(traits: Traits) -> None:
    """A message that is worked on for an hour stays ours, and settles at the end of it."""
    rig = new_rig(traits)
    rig.send("1")
    rig.advance(1.0)
    lease = rig.take_one()
    other = rig_on(rig.clock, rig.server)

    rig.advance(HOUR_S)

    assert other.take() == []
    assert not lease.is_lost
    rig.leases.finish(lease)
    rig.advance(1.0)
    assert rig.stored_count == 0
    stats = rig.stats()
    assert (stats.lost, stats.lost_running, stats.settled) == (0, 0, 1)
    assert stats.requests["extend"] == pytest.approx(HOUR_S / 20.0, abs=2)


def test_what_waits_in_the_buffer_is_kept_too() -> None:
    """Messages that nobody took yet stay ours, all of them by batches of requests."""
    rig = new_rig()
    rig.send(*(str(number) for number in range(64)))
    rig.advance(1.0)

    rig.advance(HOUR_S)

    assert len(rig.take()) == 60, "for the other four slots it is not worth to ask"
    stats = rig.stats()
    assert stats.lost == 0
    assert stats.requests["extend"] <= (HOUR_S / 20.0) * 7 + 7


def test_leases_that_are_due_together_go_together() -> None:
    """Messages that came within a few seconds share their heartbeats."""
    rig = new_rig()
    for number in range(8):
        rig.send(str(number))
        rig.advance(1.0)
    held = rig.take()

    rig.advance(HOUR_S)

    assert len(held) == 8
    assert rig.stats().requests["extend"] <= HOUR_S / 20.0 + 8


def test_nothing_is_extended_where_leases_have_no_length() -> None:
    """Where the connection holds a message no request is spent on it."""
    rig = new_rig(HELD)
    rig.send("1")
    rig.advance(1.0)
    lease = rig.take_one()

    rig.advance(HOUR_S)

    assert "extend" not in rig.stats().requests
    rig.leases.finish(lease)
    rig.advance(1.0)
    assert rig.stored_count == 0


def test_the_cap() -> None:
    """After its longest time a lease is not extended any more, runs out, and is told as lost."""
    rig = new_rig(limits=LeaseLimits(hold_s_max=300.0))
    rig.send("1")
    rig.advance(0.0)
    lease = rig.take_one()

    rig.advance(299.0)
    assert rig.heard.of("lease_lost") == []
    requests = rig.stats().requests["extend"]
    rig.leases.pause()
    rig.advance(100.0)

    assert lease.is_lost
    assert rig.heard.of("lease_lost") == [(lease, LostReason.EXPIRED)]
    assert rig.stats().requests["extend"] == requests <= 15
    other = rig_on(rig.clock, rig.server)
    assert other.take_one().message.receive_count == 2


# --- failures -------------------------------------------------------------------------------------


def test_a_short_outage_loses_nothing() -> None:
    """An outage shorter than what is left of a lease costs nothing but requests."""
    rig = new_rig()
    rig.send("1")
    rig.advance(0.0)
    lease = rig.take_one()
    rig.advance(19.0)
    rig.server.fail("extend", BUSY)
    rig.advance(30.0)
    rig.server.mend("extend")
    rig.advance(HOUR_S)

    assert not lease.is_lost
    assert rig.stats().lost_running == 0
    [(failed, count)] = rig.heard.of("extend_failed")
    assert (failed.evidence.code, count) == ("ServerBusy", 1)
    assert 3 <= rig.stats().failures["extend:ServerBusy"] <= 60


def test_a_long_outage_is_told_as_lost_and_then_regained() -> None:
    """A lease that ran out is told once; an extend that works later makes it ours again."""
    rig = new_rig()
    rig.send("1")
    rig.advance(0.0)
    lease = rig.take_one()
    rig.server.fail("receive", BUSY)
    rig.server.fail("extend", BUSY)
    rig.advance(200.0)

    assert rig.heard.of("lease_lost") == [(lease, LostReason.EXPIRED)]
    rig.server.mend("extend")
    rig.advance(15.0)

    assert not lease.is_lost
    assert rig.heard.of("lease_regained") == [(lease,)]
    rig.leases.finish(lease)
    rig.advance(1.0)
    assert rig.stored_count == 0


def test_somebody_else_has_it() -> None:
    """A lease that somebody else took is told as such, extended no more, and its finish is no
    settle: the message belongs to whoever has it now."""
    rig = new_rig()
    rig.send("1")
    rig.advance(0.0)
    lease = rig.take_one()
    rig.leases.pause()
    rig.server.fail("extend", BUSY)
    rig.advance(61.0)
    other = rig_on(rig.clock, rig.server)
    theirs = other.take_one()
    rig.server.mend("extend")
    rig.advance(15.0)
    requests = rig.stats().requests["extend"]

    rig.advance(100.0)
    assert rig.stats().requests["extend"] == requests
    assert lease.is_lost
    rig.leases.finish(lease)
    rig.advance(1.0)
    assert rig.stored_count == 1
    assert rig.stats().lost == 1
    assert "settle" not in rig.stats().requests
    other.leases.finish(theirs)
    rig.advance(1.0)
    assert rig.stored_count == 0


def test_what_was_not_taken_is_dropped_when_it_is_lost() -> None:
    """A message that waited beyond its lease is not given out: somebody else may have it."""
    rig = new_rig()
    rig.send("1")
    rig.advance(0.0)
    rig.server.fail("extend", BUSY)
    rig.server.fail("receive", BUSY)
    rig.advance(61.0)

    assert rig.take() == []
    assert rig.stats().lost_unstarted == 1
    rig.server.mend("receive")
    rig.advance(31.0)
    assert rig.take_one().message.receive_count == 2


def test_an_answer_that_comes_after_its_lease() -> None:
    """A page that was under way for longer than its leases is not given out."""
    is_slow = True

    def latency(command: Command) -> tuple[float, float]:
        return (0.0, 61.0) if is_slow and isinstance(command, Receive) else (0.0, 0.0)

    rig = new_rig(latency=latency)
    rig.send("1")
    rig.advance(0.0)
    is_slow = False
    rig.advance(61.0)
    assert [reason for _, reason in rig.heard.of("lease_lost")] == [LostReason.LATE]

    assert rig.take_one().message.receive_count == 2


def test_the_answer_to_an_extend_was_lost() -> None:
    """When the server extended and its answer was lost, the receipt is void: the message is lost,
    comes again, and is taken up where it is."""
    rig = new_rig()
    rig.send("1")
    rig.advance(0.0)
    lease = rig.take_one()

    rig.server.fail("extend", Mishap(failed=RESET, is_after=True))
    rig.advance(20.0)
    rig.server.mend("extend")
    rig.advance(100.0)

    assert rig.heard.names() == ["extend_failed", "lease_lost", "lease_regained"]
    assert rig.take() == []
    rig.leases.finish(lease)
    rig.advance(1.0)
    assert rig.stored_count == 0


# --- forbidden ------------------------------------------------------------------------------------


def test_extending_is_forbidden() -> None:
    """Where extending is forbidden that is told once with its consequence; it works on without,
    with longer leases, and spends no requests on it but one now and then."""
    rig = new_rig()
    rig.server.fail("extend", FORBIDDEN)
    rig.send("1")
    rig.advance(0.0)
    first = rig.take_one()
    rig.advance(61.0)
    assert rig.heard.of("lease_lost") == [(first, LostReason.EXPIRED)]

    assert rig.heard.names() == ["extend_forbidden", "lease_lost", "lease_regained"]
    [(failed, lease_s)] = rig.heard.of("extend_forbidden")
    assert failed.evidence.code == "AccessDenied"
    assert lease_s == rig.leases.limits.unextended_lease_s
    assert not rig.stats().can_extend
    rig.advance(19.5)
    rig.send("2")
    rig.advance(1.0)
    [second] = [lease for lease in rig.take() if lease.message.body == b"2"]
    rig.advance(590.0)
    assert not second.is_lost
    rig.leases.finish(second)
    rig.advance(1.0)
    assert rig.stored_count <= 1
    rig.advance(HOUR_S)
    assert rig.heard.names().count("extend_forbidden") == 1
    assert rig.stats().requests["extend"] <= 1 + HOUR_S / rig.leases.limits.extend_retry_s + 2


def test_extending_is_allowed_again() -> None:
    """When the permission is granted it is noticed, and leases are extended again."""
    rig = new_rig()
    rig.server.fail("extend", FORBIDDEN)
    rig.send("1")
    rig.advance(0.0)
    rig.take_one()
    rig.advance(100.0)
    rig.server.mend("extend")
    rig.send("2")
    rig.advance(HOUR_S)

    assert rig.heard.names().count("extend_allowed") == 1
    assert rig.stats().can_extend
    assert rig.take()
    rig.advance(HOUR_S)
    assert rig.heard.names().count("extend_forbidden") == 1


def test_what_waited_too_long_without_extension_is_given_back() -> None:
    """Without extension a message is not given out with too little of its lease left."""
    rig = new_rig(limits=LeaseLimits(slots_max=2))
    rig.server.fail("extend", FORBIDDEN)
    rig.send("1", "2")
    rig.advance(25.0)  # the heartbeat has failed
    assert not rig.stats().can_extend
    rig.advance(10.0)  # both were given back after half of their leases, and received anew

    assert [lease.message.receive_count for lease in rig.take()] == [2, 2]
    assert rig.stats().released == 2
    assert rig.stats().lost == 0


@pytest.mark.parametrize(
    ("failed", "is_forbidden"),
    [
        (refusal("AccessDenied"), True),
        (refusal("AuthorizationPermissionMismatch"), True),
        (refusal("AuthorizationFailure"), False),
        (refusal("RequestThrottled"), False),
        (refusal("ExpiredToken"), False),
        (BUSY, False),
    ],
)
def test_what_counts_as_forbidden(failed: Failed, is_forbidden: bool) -> None:
    """Only a missing permission ends extending; firewalls, throttles and tokens may heal soon."""
    rig = new_rig()
    rig.server.fail("extend", failed)
    rig.send("1")
    rig.advance(0.0)
    rig.take_one()
    rig.advance(30.0)

    assert rig.stats().can_extend is not is_forbidden
    assert rig.stats().requests["extend"] == 1 if is_forbidden else True


def test_calls_on_one_message_never_overlap() -> None:
    """A message that is finished while its extend is under way settles with the new receipt."""

    def latency(command: Command) -> tuple[float, float]:
        return (2.0, 2.0) if isinstance(command, Extend) else (0.0, 0.0)

    rig = new_rig(latency=latency)
    rig.send("1")
    rig.advance(0.0)
    lease = rig.take_one()
    rig.advance(21.0)
    assert lease.is_busy
    rig.leases.finish(lease)
    rig.advance(2.0)
    assert rig.stored_count == 1
    rig.stats()
    rig.advance(2.0)

    assert rig.stored_count == 0
    assert rig.stats().settled == 1
