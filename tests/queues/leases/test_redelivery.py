"""A message that comes again: given out again only when its work is not done."""

import dataclasses

import pytest

from eventpost.queues.interfaces import Message
from eventpost.queues.leases.commands import Command, Receive
from eventpost.testing.memory_queue import BUSY, FORBIDDEN, HELD, LEASED, LOG, RESET, Mishap
from tests.queues.leases.rig import NAME, new_rig, rig_on

HOUR_S = 3_600.0
HELD_WITH_IDS = dataclasses.replace(HELD, has_ids=True)


def test_what_is_finished_is_settled_with_its_fresh_receipt() -> None:
    """When a message comes again whose settle failed, its new receipt settles it, and nobody gets
    it a second time."""
    rig = new_rig()
    rig.server.fail("settle", FORBIDDEN)
    rig.server.fail("extend", BUSY)
    rig.send("1")
    rig.advance(0.0)
    rig.leases.finish(rig.take_one())
    rig.advance(61.0)  # it came again, because its lease could not be extended either
    assert rig.take() == []
    assert rig.stats().redelivered_finished == 1
    rig.server.mend("settle")
    rig.advance(31.0)

    assert rig.stored_count == 0
    assert rig.stats().settled == 1
    assert len(rig.heard.of("redelivered_finished")) >= 1


def test_known_from_before() -> None:
    """What another process finished, or this one before it was killed, is known by the look-up: it
    is settled and not given out."""
    asked: list[str] = []

    def known(ids: object) -> list[str]:
        assert isinstance(ids, list)
        asked.extend(ids)
        return [one for one in ids if one in ("m-1", "m-3")]

    rig = new_rig(known=known)
    rig.send("1", "2", "3")
    rig.advance(1.0)

    assert [lease.message.body for lease in rig.take()] == [b"2"]
    assert asked == ["m-1", "m-2", "m-3"]
    assert rig.stored_count == 1
    stats = rig.stats()
    assert (stats.redelivered_finished, stats.settled, stats.taken) == (2, 2, 1)


@pytest.mark.parametrize("ignores_old_receipts", [True, False])
def test_somebody_else_got_it_after_it_was_finished(ignores_old_receipts: bool) -> None:
    """A settle with a receipt that is void is over here, whether the server says so or not; when
    the message comes again it is known."""
    rig = new_rig(ignores_old_receipts=ignores_old_receipts)
    rig.send("1")
    rig.advance(0.0)
    lease = rig.take_one()
    rig.leases.pause()
    rig.server.fail("extend", BUSY)
    rig.advance(61.0)
    other = rig_on(rig.clock, rig.server)
    theirs = other.take_one()
    rig.leases.finish(lease)
    rig.advance(1.0)
    assert rig.stored_count == 1
    assert rig.stats().held == 0

    other.leases.release(theirs)
    other.leases.pause()
    rig.leases.resume()
    rig.advance(31.0)

    assert rig.take() == []
    assert rig.stored_count == 0
    assert rig.stats().redelivered_finished == 1


def test_a_message_at_work_is_taken_up_where_it_is() -> None:
    """A message that comes again while it is at work here is not given out a second time: its new
    receipt holds from now on, and settles it."""
    rig = new_rig()
    rig.send("1")
    rig.advance(0.0)
    lease = rig.take_one()
    rig.server.fail("extend", BUSY)
    rig.advance(61.0)
    rig.server.mend("extend")

    assert not lease.is_lost
    assert rig.heard.names() == ["extend_failed", "lease_lost", "lease_regained"]
    rig.advance(HOUR_S)
    assert rig.take() == []
    rig.leases.finish(lease)
    rig.advance(1.0)
    assert rig.stored_count == 0
    stats = rig.stats()
    assert (stats.received, stats.replaced, stats.settled) == (2, 1, 1)


def test_an_older_delivery_that_comes_late() -> None:
    """When two receives bring one message, the newer receipt holds, in whatever order they come."""
    delays = iter([(0.0, 70.0), (0.0, 0.0)])

    def latency(command: Command) -> tuple[float, float]:
        return next(delays, (0.0, 0.0)) if isinstance(command, Receive) else (0.0, 0.0)

    rig = new_rig(latency=latency, is_started=False)
    rig.send("1")
    rig.leases.start()
    rig.advance(1.0)
    # The first answer is under way for longer than its lease; a second receive finds it anew.
    assert rig.leases._book is not None
    rig.leases._book.receiving._calls_allowed = 2
    rig.advance(59.5)
    rig.leases.nudge()
    rig.advance(1.0)
    lease = rig.take_one()
    assert lease.message.receive_count == 2
    rig.advance(20.0)

    assert rig.take() == []
    assert rig.stats().replaced == 1
    rig.leases.finish(lease)
    rig.advance(1.0)
    assert rig.stored_count == 0


def test_a_release_whose_answer_was_lost() -> None:
    """A message that was released and came back before that was known here is given out anew."""
    rig = new_rig()
    rig.send("1")
    rig.advance(0.0)
    rig.leases.release(rig.take_one())
    rig.server.fail("release", Mishap(failed=RESET, is_after=True))
    rig.advance(1.0)
    rig.server.mend("release")

    lease = rig.take_one()
    assert lease.message.receive_count == 2
    rig.leases.finish(lease)
    rig.advance(61.0)
    assert rig.stored_count == 0
    stats = rig.stats()
    assert (stats.released, stats.settled, stats.held) == (1, 1, 0)


def test_a_message_that_was_settled_comes_again() -> None:
    """A standard queue of SQS may deliver once more what it deleted: that is known, too."""
    rig = new_rig()
    rig.send("1")
    rig.advance(0.0)
    rig.leases.finish(rig.take_one())
    rig.advance(1.0)
    shelf = rig.server.shelf(NAME)
    assert shelf is not None
    # The same id again, as a replica would have it.
    shelf._numbers = iter([1])  # type: ignore[attr-defined]
    rig.send("1")
    rig.advance(1.0)

    assert rig.take() == []
    assert rig.stored_count == 0


# --- without leases that run out ------------------------------------------------------------------


def test_both_deliveries_are_held_where_both_may_be_valid() -> None:
    """Two deliveries of one id, of which neither need be void: one is given out, and both go its
    way in the end."""
    rig = new_rig(HELD_WITH_IDS)
    queue = rig.server.queue(NAME)
    queue.send([Message(body=b"1", message_id="song-1")] * 2)
    rig.advance(1.0)
    lease = rig.take_one()
    assert rig.stats().slots_used == 2
    assert rig.take() == []

    rig.leases.finish(lease)
    rig.advance(1.0)

    assert rig.stored_count == 0
    assert rig.stats().settled == 2
    queue.send([Message(body=b"1", message_id="song-1")])
    rig.advance(1.0)
    assert rig.take() == []
    assert rig.stored_count == 0


def test_both_deliveries_are_released() -> None:
    """When the work is not done, both deliveries are given back, and one is given out again."""
    rig = new_rig(HELD_WITH_IDS)
    queue = rig.server.queue(NAME)
    queue.send([Message(body=b"1", message_id="song-1")] * 2)
    rig.advance(1.0)

    rig.leases.release(rig.take_one())
    rig.advance(1.0)

    assert rig.stored_count == 2
    rig.leases.finish(rig.take_one())
    rig.advance(1.0)
    assert rig.stored_count == 0


def test_a_broken_connection_while_at_work() -> None:
    """When the connection broke, the new delivery of a message at work joins it, and settles it."""
    rig = new_rig(HELD_WITH_IDS)
    queue = rig.server.queue(NAME)
    queue.send([Message(body=b"1", message_id="song-1")])
    rig.advance(1.0)
    lease = rig.take_one()
    shelf = rig.server.shelf(NAME)
    assert shelf is not None
    shelf.let_go(rig.leases.queue)
    rig.advance(1.0)
    assert rig.take() == []

    rig.leases.finish(lease)
    rig.advance(1.0)

    assert rig.stored_count == 0
    stats = rig.stats()
    assert (stats.settled, stats.lost) == (1, 1)


def test_a_log_is_read_again() -> None:
    """Records above the committed offset that are finished are known when they are read again."""
    finished: set[str] = set()
    rig = new_rig(LOG, known=lambda ids: finished.intersection(ids))
    rig.send("0", "1", "2", "3")
    rig.advance(1.0)
    first, *others = rig.take()
    for lease in others:
        finished.add(lease.id)
        rig.leases.finish(lease)
    rig.advance(1.0)
    left = rig.leases.close()
    assert (left.running, left.finished) == (1, 0)

    other = rig_on(rig.clock, rig.server, known=lambda ids: finished.intersection(ids))
    rig.advance(1.0)

    assert [lease.id for lease in other.take()] == [first.id]
    assert other.stats().redelivered_finished == 3


def test_remembered_ids_are_bounded() -> None:
    """In memory only the newest finished ids are kept; older ones are the look-up's business."""
    rig = new_rig(LEASED)
    assert rig.leases._book is not None
    held = rig.leases._book.held
    rig.send(*(str(number) for number in range(30)))
    object.__setattr__(held.limits, "remembered_max", 10)
    rig.advance(1.0)
    for lease in rig.take():
        rig.leases.finish(lease)
    rig.advance(1.0)

    assert [number for number in range(1, 31) if held.is_remembered(f"m-{number}")] == [
        *range(21, 31)
    ]
