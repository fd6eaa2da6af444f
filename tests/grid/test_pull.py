"""A pulled subscription: what is handed out, under which locks, and what becomes of it."""

import pytest

from eventpost.core.books import Tally
from eventpost.core.errors import NotFound, Overloaded
from eventpost.core.interfaces import ReadFailed
from eventpost.core.retry import Reason
from eventpost.core.subscriptions import RetryPolicy
from eventpost.grid import catalogue
from eventpost.grid.pull import LOCK_EXPIRED, LOOK_S, REJECTED, RELEASED
from eventpost.grid.settling import Action, Key, Result
from tests.grid.conftest import NewRig
from tests.grid.pulling import LOCK_S, Received, pull_lane, receive, settle, subscribe
from tests.grid.rig import Rig

ACKNOWLEDGE, RELEASE, REJECT, RENEW = Action
DONE, LOST, FAILED = Result


# --- receiving ------------------------------------------------------------------------------------


def test_what_is_there_is_handed_out_at_once(rig: Rig) -> None:
    """A receive gets up to its number of events, in their order, each for the first time."""
    subscribe(rig)
    ids = rig.publish(5)

    first, second = receive(rig, 3, wait_s=60), receive(rig, 3, wait_s=60)

    assert (first.ids, first.counts) == (ids[:3], [1, 1, 1])
    assert (second.ids, second.counts) == (ids[3:], [1, 1])


def test_a_receive_waits_for_an_event(rig: Rig) -> None:
    """Without an event a receive waits, and gets the first one that comes."""
    subscribe(rig)
    waiting = receive(rig, 10, wait_s=60)
    rig.advance(59.9)
    assert waiting.answers == []

    ids = rig.publish()

    assert waiting.ids == ids


def test_a_receive_waits_no_longer_than_it_said(rig: Rig) -> None:
    """When its time is over a receive gets nothing, and an event that comes then is another's."""
    subscribe(rig)
    waiting = receive(rig, 10, wait_s=10)
    rig.advance(10.0)
    assert waiting.ids == []

    ids = rig.publish()

    assert receive(rig).ids == ids


def test_who_waits_longest_is_served_first(rig: Rig) -> None:
    """Receives are served in the order in which they came."""
    subscribe(rig)
    first, second = (receive(rig, 2, wait_s=60) for _ in range(2))

    ids = rig.publish(2)

    assert first.ids == ids
    assert second.answers == []


def test_nobody_who_has_left_gets_an_event(rig: Rig) -> None:
    """A consumer that hung up while it waited gets nothing; the next one does."""
    subscribe(rig)
    left = receive(rig, wait_s=60)
    left.is_listening = False
    waiting = receive(rig, wait_s=60)

    ids = rig.publish()

    assert waiting.ids == ids
    assert left.answers == []


def test_an_answer_waits_for_its_commit(rig: Rig) -> None:
    """Nobody holds a lock that is not on disk."""
    subscribe(rig)
    rig.publish()
    rig.executor.hold("write")

    received = receive(rig)
    assert received.answers == []
    rig.executor.release("write")

    assert len(received.ids) == 1


@pytest.mark.parametrize("waiting", [1, 2, 3])
def test_so_many_may_wait(new_rig: NewRig, waiting: int) -> None:
    """At the bound of waiting receives the next one is refused, and told when to come again."""
    rig = new_rig(receives_waiting_max=2)
    rig.topic()
    subscribe(rig)

    if waiting <= 2:
        assert [receive(rig, wait_s=60).answers for _ in range(waiting)] == [[]] * waiting
    else:
        receive(rig, wait_s=60)
        receive(rig, wait_s=60)
        with pytest.raises(Overloaded, match="Too many receives"):
            receive(rig, wait_s=60)


@pytest.mark.parametrize(("bytes_max", "count"), [(1, 1), (399, 1), (1_500, 2)])
def test_the_bytes_of_one_receive(new_rig: NewRig, bytes_max: int, count: int) -> None:
    """A receive hands out no more bytes than its bound, and one event at least."""
    rig = new_rig(receive_bytes_max=bytes_max)
    rig.topic()
    subscribe(rig)
    rig.publish(3, data="x" * 400)

    assert len(receive(rig, 100).ids) == count


def test_a_backlog_is_read_for_a_receive_that_would_not_wait(rig: Rig) -> None:
    """A receive that waits for nothing gets what is in the log, though it must be read first."""
    ids = rig.publish(3)
    subscribe(rig, start=0)

    assert receive(rig, 5).ids == ids


def test_a_large_backlog_is_handed_out_whole(new_rig: NewRig) -> None:
    """Many more events than a lane holds are handed out once each, in order."""
    rig = new_rig(lane_events_max=16, locks_held_max=8)
    rig.topic()
    ids = [each for _ in range(10) for each in rig.publish(20)]
    subscribe(rig, start=0)
    seen: list[str] = []
    while received := receive(rig, 7).ids:
        seen += received

    assert seen == ids
    rig.check()


def test_a_paused_subscription_hands_nothing_out(rig: Rig) -> None:
    """While it is paused receives wait; what is held can be settled; resumed, all go on."""
    subscribe(rig)
    first, second = rig.publish(2)
    held = receive(rig)
    rig.change(is_paused=True)
    waiting = receive(rig, wait_s=60)
    assert waiting.answers == []
    assert settle(rig, ACKNOWLEDGE, held.keys) == [DONE]
    assert held.ids == [first]

    rig.change(is_paused=False)

    assert waiting.ids == [second]


def test_the_end_of_a_subscription_ends_the_waiting(rig: Rig) -> None:
    """Who waits for a subscription that is deleted is told so; its locks are void."""
    lane = subscribe(rig)
    waiting = receive(rig, wait_s=60)
    number = rig.subscription().id
    rig.ask(lambda done: catalogue.remove_subscription(rig.engine, number, done) and None)
    answers: list[object] = []
    lane.settle(ACKNOWLEDGE, [Key(1, 0)], 0, answers.append)
    rig.settle()

    for answer in (*waiting.answers, *answers):
        assert isinstance(answer, NotFound)
    assert len(answers) == len(waiting.answers) == 1


# --- settling -------------------------------------------------------------------------------------


def test_acknowledged_is_delivered(rig: Rig) -> None:
    """An acknowledged event is delivered in the books, and never comes again."""
    subscribe(rig)
    rig.publish(3)
    received = receive(rig, 3)

    assert settle(rig, ACKNOWLEDGE, received.keys) == [DONE] * 3

    rig.advance(2 * LOCK_S)
    assert receive(rig, 3).ids == []
    assert rig.books() == Tally(matched=3, delivered=3)
    assert rig.lane().checkpoint == 3


def test_a_lock_ends_after_its_time(rig: Rig) -> None:
    """Until its lock is over nobody gets an event; then it comes again, and its count is higher."""
    subscribe(rig)
    ids = rig.publish()
    held = receive(rig)
    rig.advance(LOCK_S - 0.001)
    assert receive(rig).ids == []

    rig.advance(0.001)
    again = receive(rig)

    assert (again.ids, again.counts) == (ids, [2])
    assert settle(rig, ACKNOWLEDGE, held.keys) == [LOST]
    assert settle(rig, ACKNOWLEDGE, again.keys) == [DONE]
    assert [each.evidence for each in rig.watcher.failed] == [LOCK_EXPIRED]


@pytest.mark.parametrize("action", Action)
def test_a_lock_is_settled_once(rig: Rig, action: Action) -> None:
    """Nothing can be done with a lock that was acknowledged, released or rejected; a renewed one
    can be renewed again. The second of two equal tokens is as good as a second request."""
    subscribe(rig)
    rig.publish()
    (key,) = receive(rig).keys

    found = settle(rig, action, [key, key])
    found += settle(rig, action, [key])

    assert found == ([DONE, LOST, LOST] if action is not RENEW else [DONE, DONE, DONE])


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("change", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_a_lock_is_of_its_event_only(
    rig: Rig, action: Action, change: tuple[int, int, int]
) -> None:
    """A lock does nothing for another event, nor a lock that nobody took for any."""
    subscribe(rig)
    rig.publish(2)
    (key,) = receive(rig).keys
    other = Key(key.lock + change[0], key.position + change[1], key.letter + change[2])

    assert settle(rig, action, [other]) == [LOST]
    assert settle(rig, ACKNOWLEDGE, [key]) == [DONE]


@pytest.mark.parametrize("delay_s", [0, 10, 3_600])
def test_a_released_event_comes_again_after_its_delay(rig: Rig, delay_s: int) -> None:
    """A released event is to be had after the delay and not before, its count is higher."""
    subscribe(rig)
    ids = rig.publish()
    held = receive(rig)
    assert settle(rig, RELEASE, held.keys, delay_s=delay_s) == [DONE]
    assert rig.watcher.failed[0].evidence == RELEASED
    if delay_s:
        rig.advance(delay_s - LOOK_S - 0.01)
        assert receive(rig).ids == []
        rig.advance(LOOK_S + 0.01)

    again = receive(rig)

    assert (again.ids, again.counts) == (ids, [2])


def test_a_rejected_event_is_a_dead_letter(rig: Rig) -> None:
    """A rejected event is a dead letter with that reason, and its count."""
    subscribe(rig)
    ids = rig.publish()

    assert settle(rig, REJECT, receive(rig).keys) == [DONE]

    (letter,) = rig.letters()
    assert (letter.reason, letter.event_id, letter.attempts) == (Reason.REJECTED, ids[0], 1)
    assert letter.evidence == REJECTED
    rig.advance(2 * LOCK_S)
    assert receive(rig).ids == []


def test_a_renewed_lock_lasts_on(rig: Rig) -> None:
    """A renewed lock lasts its whole time from then, with the same token, again and again."""
    subscribe(rig)
    ids = rig.publish()
    held = receive(rig)
    for _ in range(3):
        rig.advance(LOCK_S - 1)
        assert settle(rig, RENEW, held.keys) == [DONE]
    rig.advance(LOCK_S - 1)
    assert receive(rig).ids == []
    rig.advance(1)

    again = receive(rig)

    assert (again.ids, again.counts) == (ids, [2])
    assert settle(rig, RENEW, held.keys) == [LOST]


@pytest.mark.parametrize("action", [ACKNOWLEDGE, RELEASE, REJECT])
def test_a_renewed_lock_is_settled_as_any(rig: Rig, action: Action) -> None:
    """What can be done with a lock can be done with a renewed one, once."""
    subscribe(rig)
    ids = rig.publish(2)
    held = receive(rig, 2)
    settle(rig, RENEW, held.keys)

    assert settle(rig, action, held.keys) == [DONE, DONE]

    assert settle(rig, ACKNOWLEDGE, held.keys) == [LOST, LOST]
    if action is RELEASE:
        assert receive(rig, 2).ids == ids
    else:
        assert rig.books().pending == 0
    assert len(rig.letters()) == (2 if action is REJECT else 0)


@pytest.mark.parametrize("action", Action)
def test_an_event_that_comes_again_is_settled_as_any(rig: Rig, action: Action) -> None:
    """The same of events that were handed out before."""
    subscribe(rig)
    ids = rig.publish(2)
    settle(rig, RELEASE, receive(rig, 2).keys)
    held = receive(rig, 2)
    assert held.counts == [2, 2]

    assert settle(rig, action, held.keys) == [DONE, DONE]

    assert settle(rig, ACKNOWLEDGE, held.keys) == [DONE if action is RENEW else LOST] * 2
    if action is RELEASE:
        assert receive(rig, 2).counts == [3, 3]
    assert len(rig.letters()) == (2 if action is REJECT else 0)
    assert ids


@pytest.mark.parametrize("action", [RELEASE, None])
@pytest.mark.parametrize("count_max", [1, 2, 3])
def test_an_event_is_handed_out_so_often(rig: Rig, count_max: int, action: Action | None) -> None:
    """After so many times an event that is released, or whose lock ended, is a dead letter."""
    subscribe(rig, max_delivery_count=count_max)
    rig.publish()
    for count in range(1, count_max + 1):
        held = receive(rig)
        assert held.counts == [count]
        if action is None:
            rig.advance(LOCK_S)
        else:
            settle(rig, action, held.keys, delay_s=60 if count == count_max else 0)

    assert receive(rig).ids == []
    (letter,) = rig.letters()
    assert (letter.reason, letter.attempts) == (Reason.ATTEMPTS, count_max)
    assert letter.evidence == (RELEASED if action else LOCK_EXPIRED)


# --- time to live ---------------------------------------------------------------------------------


def test_an_event_that_nobody_fetches_dies_of_its_time(rig: Rig) -> None:
    """Time to live runs though nobody receives: in memory, in the log, and on the ladder."""
    retry = RetryPolicy(event_ttl_ms=600_000)
    subscribe(rig, retry=retry, max_delivery_count=10)
    rig.publish(5)
    settle(rig, RELEASE, receive(rig, 2).keys)
    rig.advance(599.9)
    assert rig.letters() == []

    rig.advance(0.2)

    assert [each.reason for each in rig.letters()] == [Reason.TIME_TO_LIVE] * 5
    assert receive(rig).ids == []


def test_time_to_live_of_a_backlog(new_rig: NewRig) -> None:
    """More events than a lane holds die in their time, too, and so do parked rows."""
    rig = new_rig(lane_events_max=16, locks_held_max=8, retries_held_max=4)
    rig.topic()
    subscribe(rig, retry=RetryPolicy(event_ttl_ms=600_000))
    rig.publish(100)
    for _ in range(5):
        settle(rig, RELEASE, receive(rig, 4).keys, delay_s=10)
    rig.advance(600.0)
    rig.advance(20.0)

    assert len(rig.letters()) == 100
    assert rig.books().pending == 0


def test_a_lock_may_outlive_the_time_to_live(rig: Rig) -> None:
    """What is held when its time to live is over can be acknowledged; released, it is dead."""
    subscribe(rig, retry=RetryPolicy(event_ttl_ms=30_000))
    rig.publish(2)
    first, second = receive(rig).keys, receive(rig).keys
    rig.advance(31)

    assert settle(rig, ACKNOWLEDGE, first) == [DONE]
    assert settle(rig, RELEASE, second) == [DONE]

    rig.settle()
    assert [each.reason for each in rig.letters()] == [Reason.TIME_TO_LIVE]


# --- locks that become rows -----------------------------------------------------------------------


@pytest.mark.parametrize("held_max", [3, 4, 5])
def test_locks_beyond_what_memory_is_for(new_rig: NewRig, held_max: int) -> None:
    """Beyond the bound the oldest locks are rows, and work as before."""
    rig = new_rig(locks_held_max=held_max)
    rig.topic()
    lane = subscribe(rig)
    rig.publish(4)
    received = [receive(rig) for _ in range(4)]

    assert lane.ladder_count == max(0, 4 - held_max)
    assert lane.held_count == min(4, held_max)
    for each in received:
        assert settle(rig, ACKNOWLEDGE, each.keys) == [DONE]
    assert rig.books() == Tally(matched=4, delivered=4)


def test_a_lock_does_not_hold_the_cursor(new_rig: NewRig) -> None:
    """An event that is held for long becomes a row when the cursor has gone far past it."""
    rig = new_rig(cursor_gap_max=20)
    rig.topic()
    lane = subscribe(rig)
    rig.publish(60)
    held = receive(rig)
    for _ in range(4):
        settle(rig, ACKNOWLEDGE, receive(rig, 10).keys)

    assert lane.checkpoint > 20
    assert settle(rig, ACKNOWLEDGE, held.keys) == [DONE]
    assert rig.books().delivered == 41


def test_large_events_under_lock_leave_room(new_rig: NewRig) -> None:
    """However large the events that one consumer holds are, another one gets the next."""
    rig = new_rig(lane_bytes_max=4_000)
    rig.topic()
    subscribe(rig)
    ids = [each for _ in range(8) for each in rig.publish(data="x" * 1_000)]

    seen = [receive(rig) for _ in range(8)]

    assert [each.ids for each in seen] == [[each] for each in ids]
    for each in seen:
        assert settle(rig, ACKNOWLEDGE, each.keys) == [DONE]


def test_an_unreadable_store_says_so_for_each_token(rig: Rig) -> None:
    """When rows cannot be read, their tokens fail as the server's fault, and hold on."""
    subscribe(rig)
    rig.publish(2)
    held = receive(rig, 2)
    settle(rig, RENEW, held.keys)
    rig.executor.faults["read"] = [ReadFailed("worn out")]

    assert settle(rig, ACKNOWLEDGE, held.keys) == [FAILED, FAILED]
    assert settle(rig, ACKNOWLEDGE, held.keys) == [DONE, DONE]


def test_an_unreadable_event_cannot_be_rejected(rig: Rig) -> None:
    """When the event of a row cannot be read, its lock holds on and ends in its time."""
    subscribe(rig)
    ids = rig.publish()
    held = receive(rig)
    settle(rig, RENEW, held.keys)
    rig.executor.hold("read")
    answers: list[object] = []
    pull_lane(rig).settle(REJECT, held.keys, 0, answers.append)
    rig.settle()
    rig.executor.faults["read"] = [ReadFailed("worn out")]
    rig.executor.release("read")

    assert answers == [[FAILED]]
    rig.advance(LOCK_S)
    assert receive(rig).ids == ids


# --- restarts, rewinds, replays -------------------------------------------------------------------


@pytest.mark.parametrize("is_row", [False, True])
def test_locks_outlive_a_restart(rig: Rig, is_row: bool) -> None:
    """After a crash a lock holds until its time, and its token is good."""
    subscribe(rig)
    ids = rig.publish(3)
    held, over = receive(rig), receive(rig)
    if is_row:
        settle(rig, RENEW, [*held.keys, *over.keys])
    rig.crash()
    rig.settle()
    assert receive(rig, 5).ids == ids[2:]

    assert settle(rig, ACKNOWLEDGE, held.keys) == [DONE]
    rig.advance(LOCK_S)
    again = receive(rig)

    assert (again.ids, again.counts) == (over.ids, [2])
    assert settle(rig, ACKNOWLEDGE, over.keys) == [LOST]


def test_a_settlement_right_after_a_restart_waits_until_all_is_read_back(rig: Rig) -> None:
    """A token is not lost because its event is still being read."""
    subscribe(rig)
    rig.publish(3)
    held = receive(rig, 3)
    rig.crash(hold=["read"])
    answers: list[object] = []
    pull_lane(rig).settle(ACKNOWLEDGE, held.keys, 0, answers.append)
    rig.advance(1.0)
    assert answers == []

    rig.executor.release("read")
    rig.advance(1.0)

    assert answers == [[DONE] * 3]


def test_locks_are_in_the_snapshots(new_rig: NewRig) -> None:
    """Locks hold across restarts also when the records that told of them are gone."""
    rig = new_rig(snapshot_commits=3)
    rig.topic()
    rig.topic("busy")
    subscribe(rig)
    rig.publish(2)
    held = receive(rig, 2)
    settle(rig, ACKNOWLEDGE, held.keys[:1])
    for _ in range(3):
        for _ in range(10):
            rig.publish(topic="busy")
        rig.restart()
        rig.settle()

    assert receive(rig, 5).ids == []
    assert settle(rig, ACKNOWLEDGE, held.keys) == [LOST, DONE]


def test_a_lock_that_was_not_committed_never_was(rig: Rig) -> None:
    """Nobody got what a crash kept from being committed; it is handed out as for the first time."""
    subscribe(rig)
    ids = rig.publish()
    rig.settle()
    received = Received()
    lane = pull_lane(rig)
    lane.receive(1, 60, lambda: True, received.answers.append)
    rig.crash()
    rig.settle()

    assert all(isinstance(each, Overloaded) for each in received.answers)
    again = receive(rig)
    assert (again.ids, again.counts) == (ids, [1])


def test_a_rewind_voids_locks(rig: Rig) -> None:
    """After a rewind everything comes anew, and what was held before is lost."""
    subscribe(rig)
    ids = rig.publish(3)
    held, renewed = receive(rig), receive(rig)
    settle(rig, RENEW, renewed.keys)

    rig.rewind(0)

    again = receive(rig, 5)
    assert (again.ids, again.counts) == (ids, [1, 1, 1])
    assert settle(rig, ACKNOWLEDGE, [*held.keys, *renewed.keys]) == [LOST, LOST]
    rig.crash()
    rig.settle()
    assert settle(rig, ACKNOWLEDGE, again.keys) == [DONE] * 3


@pytest.mark.parametrize("action", [ACKNOWLEDGE, REJECT, RELEASE])
def test_a_replayed_dead_letter_is_pulled_again(rig: Rig, action: Action) -> None:
    """A replayed dead letter is handed out and settled like any event."""
    subscribe(rig)
    ids = rig.publish()
    settle(rig, REJECT, receive(rig).keys)
    rig.ask(lambda done: rig.engine.dead_letters.replay(rig.letters(), done) and None)
    held = receive(rig)
    assert held.ids == ids

    assert settle(rig, action, held.keys) == [DONE]

    assert len(rig.letters(is_replayed=False)) == (1 if action is REJECT else 0)
    assert len(rig.letters()) == (0 if action is ACKNOWLEDGE else 1)


def test_who_waits_is_told_that_the_store_failed(rig: Rig) -> None:
    """When the engine ends, receives that wait are answered as unavailable."""
    subscribe(rig)
    waiting = receive(rig, wait_s=60)

    rig.crash()
    rig.settle()

    (answer,) = waiting.answers
    assert isinstance(answer, Overloaded)


def test_a_push_subscription_has_no_locks(rig: Rig) -> None:
    """Beside a pulled subscription one that sends goes on as ever."""
    rig.subscribe("pushed")
    subscribe(rig)
    ids = rig.publish(2)

    assert rig.handler("pushed").ids == ids
    assert receive(rig, 2).ids == ids
