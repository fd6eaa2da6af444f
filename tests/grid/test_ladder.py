"""The ladder: every row comes back when it is due, once, whatever else goes on."""

from collections import Counter

import pytest

from eventpost.core.books import Dropped
from eventpost.core.interfaces import Commit, LadderRow, ReadFailed, Trim
from eventpost.core.outcomes import DELIVERED
from eventpost.core.subscriptions import RetryPolicy
from eventpost.grid import catalogue, failing, ladder
from tests.grid.conftest import NewRig
from tests.grid.rig import Rig, failed

AT_ONCE = RetryPolicy(schedule=(1_000,))
"""A second and a bit between attempts."""


def climb(rig: Rig, count: int, name: str = "handler", *, retry_after_s: int | None = 60) -> None:
    """Let `count` fresh events fail so that all of them fall due in the same millisecond."""
    rig.handler(name).react = lambda _: failed(500, retry_after_s=retry_after_s)
    rig.publish(count)
    rig.handler(name).react = lambda _: None
    assert rig.lane(name).ladder_count == count
    rig.handler(name).attempts.clear()


@pytest.mark.parametrize("count", [1, 9, 10, 11, 55])
def test_more_rows_of_one_time_than_a_page(new_rig: NewRig, count: int) -> None:
    """However many rows fall due in the same millisecond, each is tried, once."""
    rig = new_rig(ladder_page=10, retries_held_max=1_000)
    rig.topic()
    rig.subscribe(retry=AT_ONCE, concurrency=1_000)
    climb(rig, count)

    rig.advance(60.0)

    assert Counter(rig.handler().ids) == Counter({f"e{index}": 1 for index in range(count)})
    rig.handler().answer()
    assert rig.books().delivered == count


def test_rows_in_hand_do_not_make_it_look_again(new_rig: NewRig) -> None:
    """While a page of rows of one time is being attempted the ladder rests."""
    rig = new_rig(ladder_page=10, retries_held_max=1_000)
    rig.topic()
    rig.subscribe(retry=AT_ONCE, concurrency=1_000)
    climb(rig, 20)
    rig.advance(60.0)
    assert len(rig.handler().open) == 20
    polls = rig.store.calls["due"]

    rig.advance(30.0)

    assert rig.store.calls["due"] - polls <= 1


def test_rows_taken_off_do_not_hide_others(new_rig: NewRig) -> None:
    """Rows whose removal is not committed yet do not fill a page over and over."""
    rig = new_rig(ladder_page=10, retries_held_max=1_000, outcome_delay_s=0.5)
    rig.topic()
    rig.subscribe(retry=AT_ONCE, concurrency=1_000)
    climb(rig, 35, retry_after_s=60)
    rig.handler().react = lambda _: DELIVERED
    polls = rig.store.calls["due"]

    rig.advance(60.4)

    assert rig.books().delivered == 35
    assert rig.store.calls["due"] - polls < 20


@pytest.mark.parametrize("count", [4, 5, 6, 23])
def test_a_lane_holds_so_many_retries(new_rig: NewRig, count: int) -> None:
    """A lane has no more due rows in hand than its bound; those beyond are parked, and each comes
    back when there is room."""
    rig = new_rig(retries_held_max=5)
    rig.topic()
    rig.subscribe(retry=AT_ONCE)
    climb(rig, count)

    rig.advance(60.0)

    assert len(rig.lane().rows) == min(5, count)
    assert len(rig.handler().ids) == min(5, count)
    parked = rig.read(lambda done: rig.store.parked(rig.subscription().id, 0, 100, done))
    assert len(parked) == max(0, count - 5)
    while rig.handler().open:
        rig.handler().answer(count=1)
        assert len(rig.lane().rows) <= 5
    rig.advance(1.0)
    assert Counter(rig.handler().ids) == Counter({f"e{index}": 1 for index in range(count)})
    assert rig.books().delivered == count


def test_parked_rows_come_though_removals_are_not_committed(new_rig: NewRig) -> None:
    """When a lane has worked off its retries before that is on disk, the parked ones still come."""
    rig = new_rig(retries_held_max=5, outcome_delay_s=0.02)
    rig.topic()
    rig.subscribe(retry=AT_ONCE)
    climb(rig, 23)
    rig.advance(60.0)
    rig.executor.hold("write")
    rig.handler().react = lambda _: DELIVERED
    rig.handler().answer()
    rig.advance(1.0)

    rig.executor.release("write")
    rig.advance(1.0)

    assert rig.books().delivered == 23
    assert Counter(rig.handler().ids) == Counter({f"e{index}": 1 for index in range(23)})


def test_a_row_parked_while_the_last_ones_are_worked_off(new_rig: NewRig) -> None:
    """A row that is parked while parked rows are being read comes, though the read shows only rows
    that were delivered meanwhile and nothing else is left to do."""
    rig = new_rig(retries_held_max=2, outcome_delay_s=0.5)
    rig.topic()
    rig.subscribe(retry=AT_ONCE)
    climb(rig, 4, retry_after_s=60)
    rig.handler().react = lambda _: failed(500, retry_after_s=62)
    rig.publish(1)
    rig.handler().react = lambda _: None
    rig.advance(61.0)
    rig.handler().answer(count=2)
    rig.advance(1.1)
    assert rig.lane().claimed == 2
    rig.executor.hold("read")
    rig.handler().answer()
    rig.advance(1.0)  # the fifth is parked on disk now
    assert (rig.lane().claimed, rig.lane().has_parked) == (0, True)
    rig.handler().react = lambda _: DELIVERED

    rig.executor.release("read")
    rig.advance(1.0)

    assert rig.books().delivered == 5


def test_parked_rows_of_before_a_rewind_go(new_rig: NewRig) -> None:
    """Rows that a rewind superseded are all taken off the ladder, though the lane has nothing else
    to do and reads them a few at a time."""
    rig = new_rig(retries_held_max=5)
    rig.topic()
    rig.subscribe(retry=AT_ONCE)
    climb(rig, 23)
    rig.advance(60.0)

    def parked() -> list[LadderRow]:
        rows = rig.read(lambda done: rig.store.parked(rig.subscription().id, 0, 100, done))
        assert isinstance(rows, list)
        return rows

    assert len(parked()) == 18

    rig.rewind(23)
    rig.settle()

    assert parked() == []
    assert rig.dropped(Dropped.SKIPPED) == 23


def test_a_row_that_arrives_while_the_ladder_is_read(rig: Rig) -> None:
    """A row that becomes durable while due rows are read is met, though the answer is older than it
    and rows that fell due later are in it."""
    rig.subscribe("failing", retry=AT_ONCE)
    rig.subscribe("other")
    rig.handler("failing").react = lambda _: failed()
    rig.publish(1)
    rig.executor.hold("read")
    rig.advance(1.2)
    assert len(rig.executor.held["read"]) == 1  # the row of `failing` was read
    (delivery,) = rig.handler("other").open[0].deliveries
    now_ms = rig.clock.now_ms()

    failing.climb(rig.lane("other"), delivery, now_ms - 1_000, None, now_ms)
    rig.settle()
    rig.executor.release("read")
    rig.advance(0.01)

    assert rig.handler("other").ids == ["e0", "e0"]


@pytest.mark.parametrize("is_event", [True, False])
def test_a_read_of_the_ladder_that_fails_is_made_again(rig: Rig, is_event: bool) -> None:
    """When due rows, or their events, cannot be read they are looked for again, and stay rows."""
    rig.subscribe(retry=AT_ONCE)
    climb(rig, 3)
    rig.handler().react = lambda _: DELIVERED
    if is_event:
        rig.executor.hold("read")
        rig.advance(60.0)
        rig.executor.faults["read"] = [ReadFailed("busy")]
        rig.executor.release("read")  # gives out the rows; their events are asked for next
    else:
        rig.executor.faults["read"] = [ReadFailed("busy")]

    rig.advance(60.0)
    rig.advance(2 * ladder.POLL_AGAIN_S)

    assert rig.books().delivered == 3


@pytest.mark.parametrize("faults", [1, 2, 3])
def test_a_read_of_parked_rows_that_fails_is_made_again(rig: Rig, faults: int) -> None:
    """Parked rows, or their events, that could not be read come back by themselves."""
    rig.subscribe(retry=AT_ONCE)
    climb(rig, 3)
    rig.change(is_paused=True)
    rig.advance(61.0)
    rig.handler().react = lambda _: DELIVERED
    rig.executor.faults["read"] = [ReadFailed("busy")] * faults

    rig.change(is_paused=False)
    rig.advance(faults * ladder.POLL_AGAIN_S + 0.1)

    assert rig.books().delivered == 3
    assert rig.watcher.read_failures == ["busy"] * faults


def test_events_of_parked_rows_that_cannot_be_read(rig: Rig) -> None:
    """Parked rows whose events could not be read come back by themselves."""
    rig.subscribe(retry=AT_ONCE)
    climb(rig, 3)
    rig.change(is_paused=True)
    rig.advance(61.0)
    rig.handler().react = lambda _: DELIVERED
    rig.executor.hold("read")
    rig.change(is_paused=False)
    rig.executor.faults["read"] = [ReadFailed("busy")]

    rig.executor.release("read")
    rig.advance(ladder.POLL_AGAIN_S + 0.1)

    assert rig.books().delivered == 3


def test_rows_of_a_rewound_lane_die(rig: Rig) -> None:
    """A rewind takes the rows of the lane off the ladder; what comes again comes once."""
    rig.subscribe(retry=AT_ONCE)
    climb(rig, 3)
    rig.handler().react = lambda _: DELIVERED

    rig.rewind(0)
    assert rig.handler().ids == ["e0", "e1", "e2"]
    rig.advance(120.0)

    assert rig.handler().ids == ["e0", "e1", "e2"]
    assert rig.dropped(Dropped.SUPERSEDED) == 3
    assert rig.read(rig.store.usage).ladder_count == 0


def test_a_rewind_while_rows_are_loaded(rig: Rig) -> None:
    """Rows whose events are being read when their lane is rewound die, and do not stand in the way
    of the new ones."""
    rig.subscribe(retry=AT_ONCE)
    climb(rig, 2)
    rig.advance(59.9)
    rig.executor.hold("read")
    rig.advance(0.2)
    rig.executor.release("read")

    rig.rewind(0)
    rig.handler().always(DELIVERED)
    rig.advance(120.0)

    assert rig.books().delivered == 2
    assert rig.lane().ladder_count == 0
    assert rig.read(rig.store.usage).ladder_count == 0


def test_rows_of_a_removed_lane_die(rig: Rig) -> None:
    """With a subscription its rows go; nothing of them is kept in memory."""
    rig.subscribe(retry=AT_ONCE)
    climb(rig, 3)
    rig.advance(60.0)
    handler = rig.handler()
    assert len(handler.open) == 3
    number = rig.subscription().id

    rig.ask(lambda done: catalogue.remove_subscription(rig.engine, number, done))
    handler.answer(failed())
    rig.advance(200.0)

    assert len(handler.attempts) == 3
    assert rig.read(rig.store.usage).ladder_count == 0
    assert rig.engine.ladder.claimed_count == 0


def test_an_event_that_was_trimmed_is_dropped(rig: Rig) -> None:
    """A row whose event is gone is counted as dropped when it falls due."""
    rig.subscribe(retry=AT_ONCE)
    climb(rig, 2)
    topic = rig.topics["songs"]
    rig.publish(1)
    rig.handler().always(DELIVERED)
    trim = Trim(topic.id, 0, 2)
    rig.read(lambda done: rig.store.commit(Commit(trims=[trim]), done))

    rig.advance(61.0)

    assert rig.dropped(Dropped.RETENTION) == 2
    assert rig.lane().ladder_count == 0


def test_an_expired_row_needs_no_room(rig: Rig) -> None:
    """The time of a row that falls due while its lane may not send runs out all the same."""
    rig.notices()
    rig.subscribe(retry=RetryPolicy(schedule=(1_000,), event_ttl_ms=30_000))
    climb(rig, 2)
    rig.change(is_paused=True)

    rig.advance(60.0)

    assert [letter.reason.value for letter in rig.letters()] == ["TimeToLiveExceeded"] * 2
    assert rig.handler().ids == []
