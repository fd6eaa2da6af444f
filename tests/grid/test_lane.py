"""A lane: its window, its batches, its bounds, and what becomes of each delivery."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest

from eventpost.core.books import Dropped
from eventpost.core.events import Delivery
from eventpost.core.outcomes import DELIVERED, Delivered, Failed, Outcome
from eventpost.core.subscriptions import RetryPolicy
from eventpost.grid.lane import FAILURES_KEPT
from tests.grid.conftest import NewRig
from tests.grid.rig import UNTRIED, Rig, failed

AT_ONCE = RetryPolicy(schedule=(1_000,))


# --- the window -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "count"), [(1, 1), (1, 2), (2, 1), (2, 3), (7, 6), (7, 8)])
def test_the_window(rig: Rig, window: int, count: int) -> None:
    """So many attempts are under way at once, never more, and each answer lets one follow."""
    rig.subscribe(concurrency=window)

    ids = rig.publish(count)

    assert len(rig.handler().open) == min(window, count)
    rig.handler().answer(count=1)
    assert len(rig.handler().open) == min(window, count - 1)
    rig.handler().always(DELIVERED)
    assert rig.handler().ids == ids


@pytest.mark.parametrize(("window", "retries"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4)])
def test_neither_retries_nor_first_attempts_starve(rig: Rig, window: int, retries: int) -> None:
    """While both wait, retries have at most half of the slots and first attempts all but one; with
    one slot they take turns."""
    rig.subscribe(retry=AT_ONCE, concurrency=window)
    rig.handler().react = lambda _: failed(retry_after_s=60)
    old = set(rig.publish(50))
    rig.handler().react = lambda _: None
    rig.change(is_paused=True)
    fresh = set(rig.publish(50))
    rig.advance(60.0)
    rig.handler().attempts.clear()

    rig.change(is_paused=False)
    seen: list[list[str]] = []
    while rig.handler().open and len(seen) < 60:
        seen.append([each.id for each in rig.handler().open])
        rig.handler().answer(count=1)

    both = [ids for ids in seen if len(ids) == window][: 40 // max(1, window // 2)]
    counts = [len(old & set(ids)) for ids in both[window:]]
    assert max(counts) <= retries
    sent = rig.handler().ids[:40]
    assert len(old & set(sent)) >= 10
    assert len(fresh & set(sent)) >= 10


def test_hanging_first_attempts_leave_a_slot(rig: Rig) -> None:
    """Retries go on, one at a time, while first attempts hang in all other slots."""
    rig.subscribe(retry=AT_ONCE, concurrency=4)
    rig.handler().react = lambda _: failed(retry_after_s=60)
    old = rig.publish(6)
    rig.handler().react = lambda _: None
    rig.advance(59.0)
    rig.handler().attempts.clear()
    rig.publish(20)
    assert len(rig.handler().open) == 4
    rig.advance(1.0)

    rig.handler().answer(count=1)
    for each in old:
        (retry,) = (attempt for attempt in rig.handler().open if attempt.id in old)
        assert retry.id == each
        retry.is_answered = True
        retry.done(retry.deliveries, DELIVERED)
        rig.settle()

    assert rig.lane().ladder_count == 0


def test_an_overtaken_attempt_is_no_retry(new_rig: NewRig) -> None:
    """An attempt that became a row while it was under way makes no room for more retries when it is
    answered than there may be."""
    rig = new_rig(cursor_gap_max=4)
    rig.topic()
    rig.subscribe(retry=AT_ONCE, concurrency=4)
    rig.publish(1)
    (hanging,) = rig.handler().open
    rig.handler().react = lambda _: failed(retry_after_s=60)
    rig.publish(20)
    rig.handler().react = lambda _: None
    rig.advance(60.0)
    assert rig.lane().ladder_count == 21
    assert rig.lane().retries_in_flight == 3
    rig.publish(20)

    hanging.is_answered = True
    hanging.done(hanging.deliveries, DELIVERED)
    rig.settle()

    assert rig.lane().retries_in_flight == 3
    assert rig.handler().open[-1].deliveries[0].attempts == 0


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 5, 6, 10, 11])
def test_batches_by_number(rig: Rig, count: int) -> None:
    """A batch holds as many events as wait, at most its bound."""
    rig.subscribe(max_events_per_batch=5, concurrency=1_000)

    ids = rig.publish(count)

    full, rest = divmod(count, 5)
    sizes = [len(each.deliveries) for each in rig.handler().attempts]
    assert sizes == [5] * full + [rest] * (rest > 0)
    assert rig.handler().ids == ids


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_batches_by_size(rig: Rig, more: int) -> None:
    """A batch ends before the event that would make it larger than preferred."""
    rig.subscribe(max_events_per_batch=100, preferred_batch_size_in_kilobytes=2)
    empty = len(rig.event().wire)

    rig.publish(1, data="x" * (1_024 - empty))
    rig.handler().attempts.clear()
    rig.change(is_paused=True)
    rig.offer(1, data="x" * (1_024 - empty))
    rig.publish(1, data="x" * (1_024 - empty + more))
    rig.change(is_paused=False)
    rig.settle()

    wires = [len(each.event.wire) for each in rig.handler().attempts[0].deliveries]
    assert sum(wires) == (2_048 + more if more <= 0 else 1_024)


def test_an_event_above_the_size_goes_alone(rig: Rig) -> None:
    """A large event is sent by itself, and those behind it together."""
    rig.subscribe(max_events_per_batch=100, preferred_batch_size_in_kilobytes=1, is_paused=True)
    rig.offer(1, data="x" * 5_000)
    rig.offer(2)
    rig.settle()

    rig.change(is_paused=False)

    assert [len(each.deliveries) for each in rig.handler().attempts] == [1, 2]


def test_outcomes_of_a_batch(rig: Rig) -> None:
    """Each event of a batch may have an outcome of its own."""
    rig.notices()
    rig.subscribe(max_events_per_batch=5, retry=AT_ONCE)
    ids = rig.publish(5)
    outcomes: list[Outcome] = [DELIVERED, failed(500), failed(400), Delivered(), UNTRIED]

    rig.handler().answer(outcomes)

    books = rig.books()
    assert books.delivered == 2
    assert [letter.event_id for letter in rig.letters()] == [ids[2]]
    assert rig.lane().ladder_count == 2
    rig.advance(1.2)
    sent = [delivery for each in rig.handler().attempts[1:] for delivery in each.deliveries]
    assert {delivery.event.id: delivery.attempts for delivery in sent} == {ids[1]: 1, ids[4]: 0}


def test_one_outcome_for_a_batch(rig: Rig) -> None:
    """One outcome holds for every event of its batch, and is one failure in a row."""
    rig.subscribe(max_events_per_batch=5, retry=AT_ONCE)
    rig.publish(5)

    rig.handler().answer(failed())

    assert rig.lane().ladder_count == 5
    assert rig.lane().breaker.failures == 1
    assert len(rig.watcher.failed) == 5


def test_a_reconnect_of_a_batch(rig: Rig) -> None:
    """A fresh connection counts once for its attempt, however many events that carried."""
    rig.subscribe(max_events_per_batch=5, retry=AT_ONCE)
    rig.publish(5)
    again = msgspec.structs.replace(failed().evidence, reconnect_count=1)

    rig.handler().answer(Failed(again))
    rig.publish(5)
    rig.handler().answer(Delivered(again))

    assert rig.lane().reconnects == 2


def test_expired_events_leave_their_batch(rig: Rig) -> None:
    """What of a batch has run out of time becomes dead letters, the rest is sent."""
    rig.subscribe(max_events_per_batch=10, retry=RetryPolicy(event_ttl_ms=10_000), is_paused=True)
    rig.publish(3)
    rig.advance(5.0)
    ids = rig.publish(3)
    rig.advance(5.0)

    rig.change(is_paused=False)

    assert rig.handler().ids == ids
    assert rig.books().dead_lettered == {"TimeToLiveExceeded": 3}


# --- the rate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "at_once"), [(0.5, 1), (1.0, 1), (2.5, 2), (10.0, 10)])
def test_the_rate(rig: Rig, rate: float, at_once: int) -> None:
    """At most one second's worth goes out at once, at least one; then so many a second."""
    rig.subscribe(rate_per_s=rate)
    rig.handler().react = lambda _: DELIVERED
    ids = rig.publish(100)
    assert len(rig.handler().attempts) == at_once

    rig.advance(8.0)

    assert abs(len(rig.handler().attempts) - at_once - 8 * rate) <= 1
    rig.advance(100 / rate + 1)
    assert rig.handler().ids == ids


def test_a_pause_saves_no_rate(rig: Rig) -> None:
    """After a pause no more goes out at once than one second's worth."""
    rig.subscribe(rate_per_s=2.0)
    rig.handler().react = lambda _: DELIVERED
    rig.publish(20)
    rig.change(is_paused=True)
    sent = len(rig.handler().attempts)
    rig.advance(60.0)

    rig.change(is_paused=False)
    rig.advance(0.9)

    assert len(rig.handler().attempts) - sent <= 3


# --- time to live and attempts --------------------------------------------------------------------


@pytest.mark.parametrize("early_ms", [1, 0, -1])
def test_time_to_live(rig: Rig, early_ms: int) -> None:
    """It is looked at when an attempt falls due: up to the last millisecond one is made."""
    rig.subscribe(retry=RetryPolicy(event_ttl_ms=10_000), is_paused=True)
    rig.publish(1)
    rig.advance((10_000 - early_ms) / 1_000)

    rig.change(is_paused=False)

    assert len(rig.handler().attempts) == (early_ms > 0)
    assert sum(rig.books().dead_lettered.values()) == (early_ms <= 0)


def test_an_attempt_under_way_may_outlive_its_event(rig: Rig) -> None:
    """An attempt that began in time counts whenever it is answered."""
    rig.subscribe(retry=RetryPolicy(event_ttl_ms=10_000, schedule=(10,)))
    rig.publish(2)
    rig.advance(60.0)

    rig.handler().answer(DELIVERED, count=1)
    rig.handler().answer(failed())
    rig.advance(1.0)

    assert rig.books().delivered == 1
    assert rig.books().dead_lettered == {"TimeToLiveExceeded": 1}
    assert len(rig.handler().attempts) == 2


@pytest.mark.parametrize("bound", [1, 2, 3])
def test_the_number_of_attempts(rig: Rig, bound: int) -> None:
    """So many attempts are made, each told how many there were before; those that could not be
    begun do not count."""
    rig.subscribe(retry=RetryPolicy(schedule=(1_000,), max_delivery_attempts=bound))
    answers: list[Outcome] = [UNTRIED, UNTRIED, *[failed()] * 10]
    told: list[int] = []

    def react(deliveries: Sequence[Delivery]) -> Outcome:
        told.append(deliveries[0].attempts)
        return answers.pop(0)

    rig.handler().react = react
    rig.publish(1)
    rig.advance(60.0)

    assert told == [0, 0, *range(bound)]
    assert rig.books().dead_lettered == {"MaxDeliveryAttemptsExceeded": 1}
    assert rig.letters()[0].attempts == bound


# --- what holds the cursor back -------------------------------------------------------------------


def overtaken(new_rig: NewRig, gap: int = 10) -> Rig:
    """One attempt hangs, and more than `gap` events behind it are delivered."""
    rig = new_rig(cursor_gap_max=gap)
    rig.topic()
    rig.subscribe(retry=AT_ONCE)
    rig.publish(1)
    rig.handler().react = lambda _: DELIVERED
    rig.publish(gap + 1)
    rig.publish(1)
    return rig


@pytest.mark.parametrize(("behind", "rows"), [(7, 0), (8, 0), (9, 1), (10, 1)])
def test_an_attempt_that_holds_the_cursor_back(new_rig: NewRig, behind: int, rows: int) -> None:
    """It becomes a row once it is further behind than the bound; the cursor passes it."""
    rig = new_rig(cursor_gap_max=10)
    rig.topic()
    rig.subscribe()
    rig.publish(1)
    rig.handler().react = lambda _: DELIVERED

    rig.publish(behind)
    rig.publish(1)

    assert rig.lane().ladder_count == rows
    assert rig.lane().checkpoint == (0 if rows == 0 else behind + 2)
    assert rig.read(rig.store.usage).ladder_count == rows


def test_it_succeeds_late(new_rig: NewRig) -> None:
    """It counts when it is answered, and no second attempt is made."""
    rig = overtaken(new_rig)
    rig.advance(30.0)

    rig.handler().answer(DELIVERED)
    rig.advance(30.0)

    assert rig.handler().ids.count("e0") == 1
    assert rig.books().delivered == 13
    assert rig.read(rig.store.usage).ladder_count == 0


def test_it_fails_late(new_rig: NewRig) -> None:
    """It is tried again as after its first attempt."""
    rig = overtaken(new_rig)
    rig.advance(30.0)

    rig.handler().answer(failed())
    rig.advance(1.2)

    assert rig.handler().attempts[-1].deliveries[0].attempts == 1
    assert rig.books().delivered == 13
    assert rig.read(rig.store.usage).ladder_count == 0


def test_it_is_not_answered_before_a_crash(new_rig: NewRig) -> None:
    """It goes out again at once, it alone, and no attempt is counted."""
    rig = overtaken(new_rig)

    rig.restart()
    rig.advance(0.01)

    assert rig.handler().ids == ["e0"]
    assert rig.handler().attempts[0].deliveries[0].attempts == 0
    assert rig.books().delivered == 13


def test_what_waits_for_a_slot_is_not_parked(new_rig: NewRig) -> None:
    """Only what was sent becomes a row; what waits behind it stays in the lane."""
    rig = new_rig(cursor_gap_max=3)
    rig.topic()
    rig.subscribe(concurrency=2)

    ids = rig.publish(10)
    rig.publish(1)

    assert rig.lane().ladder_count == 2
    rig.handler().always(DELIVERED)
    assert rig.handler().ids[:10] == ids


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [7, 8, 9, 20])
def test_the_number_held(new_rig: NewRig, count: int) -> None:
    """A lane holds so many deliveries; what is beyond waits in the log."""
    rig = new_rig(lane_events_max=8)
    rig.topic()
    rig.subscribe(concurrency=1)

    ids = rig.publish(count)

    assert len(rig.lane().outstanding) == min(count, 8)
    assert rig.lane().is_live == (count <= 8)
    assert rig.engine.deliveries_held == min(count, 8)
    rig.handler().always(DELIVERED)
    assert rig.handler().ids == ids
    assert rig.engine.deliveries_held == 0


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_bytes_held(new_rig: NewRig, more: int) -> None:
    """A lane that holds its bytes takes nothing more; the last event may pass the bound."""
    rig = new_rig()
    rig.topic()
    size = sum(len(rig.event().wire) for _ in range(4))
    rig.limits = rig.limits.__class__(outcome_delay_s=0.0, lane_bytes_max=size + more)
    rig.restart()
    rig.subscribe(concurrency=1)

    ids = rig.publish(6)

    assert len(rig.lane().outstanding) == (4 if more <= 0 else 5)
    rig.handler().always(DELIVERED)
    assert rig.handler().ids == ids


@pytest.mark.parametrize("count", [7, 8, 9, 20])
@pytest.mark.parametrize("start", [None, 0])
def test_the_rows_on_the_ladder(new_rig: NewRig, count: int, start: int | None) -> None:
    """At so many rows a lane takes nothing more, live or from the log, and goes on as they go."""
    rig = new_rig(ladder_rows_max=8, lane_events_max=1)
    rig.topic()
    ids = rig.publish(count) if start == 0 else []
    rig.subscribe(retry=AT_ONCE, start=start, is_paused=True)
    rig.handler().react = lambda _: failed(retry_after_s=60)
    rig.change(is_paused=False)
    if start is None:
        ids = [rig.publish(1)[0] for _ in range(count)]
    else:
        rig.settle()

    assert rig.lane().ladder_count == min(count, 8)
    assert rig.books().matched == min(count, 8)
    rig.handler().react = lambda _: DELIVERED
    rig.advance(120.0)

    assert rig.books().delivered == count
    assert set(rig.handler().ids) == set(ids)


@pytest.mark.parametrize(("more", "held"), [(-1, 9), (0, 10), (1, 10)])
def test_what_all_lanes_hold(new_rig: NewRig, more: int, held: int) -> None:
    """All lanes together hold so many deliveries."""
    rig = new_rig(deliveries_max=10, lane_share_min=2)
    rig.topic()
    rig.subscribe("first", concurrency=1)

    ids = rig.publish(10 + more)

    assert rig.engine.deliveries_held == held
    rig.handler("first").always(DELIVERED)
    assert rig.handler("first").ids == ids


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_share_of_a_lane(new_rig: NewRig, count: int) -> None:
    """However much others hold, a lane may hold its share, live or from the log."""
    rig = new_rig(deliveries_max=10, lane_share_min=2)
    rig.topic()
    rig.subscribe("greedy", concurrency=1)
    rig.publish(12)
    rig.subscribe("modest", concurrency=1)
    rig.subscribe("late", concurrency=1, start=0)

    ids = rig.publish(count)

    assert len(rig.lane("modest").outstanding) == min(count, 2)
    assert len(rig.lane("late").outstanding) == 2
    rig.handler("modest").always(DELIVERED)
    assert rig.handler("modest").ids == ids


# --- pause, rewind --------------------------------------------------------------------------------


def test_a_pause(rig: Rig) -> None:
    """A paused lane sends nothing, takes what was under way, and goes on where it was."""
    rig.subscribe(concurrency=1)
    ids = rig.publish(3)
    rig.change(is_paused=True)
    ids += rig.publish(2)

    rig.handler().answer(DELIVERED)
    assert rig.handler().ids == ids[:1]
    rig.handler().react = lambda _: DELIVERED
    rig.change(is_paused=False)

    assert rig.handler().ids == ids
    assert rig.books().delivered == 5


@pytest.mark.parametrize("to", [0, 2, 5])
@pytest.mark.parametrize("outcome", [DELIVERED, failed(), failed(400)])
def test_a_rewind_back(rig: Rig, to: int, outcome: Outcome) -> None:
    """Everything from there on comes again; what was outstanding is superseded, and its answers
    count for nothing."""
    rig.subscribe(retry=AT_ONCE)
    ids = rig.publish(5)
    old = list(rig.handler().open)
    rig.handler().attempts.clear()

    rig.rewind(to)
    for attempt in old:
        attempt.done(attempt.deliveries, outcome)
    rig.settle()
    rig.handler().always(DELIVERED)
    rig.advance(10.0)

    assert rig.handler().ids == ids[to:]
    books = rig.books()
    reason = Dropped.SUPERSEDED if to < 5 else Dropped.SKIPPED
    assert rig.dropped(reason) == 5
    assert (books.matched, books.delivered) == (10 - to, 5 - to)
    assert books.dead_lettered == {}


def test_a_rewind_forward(rig: Rig) -> None:
    """What is passed over is counted as skipped, unread events are not counted at all."""
    rig.subscribe(concurrency=1, is_paused=True)
    rig.publish(5)
    rig.change(is_paused=False)
    rig.change(is_paused=True)
    rig.publish(5)

    rig.rewind(8)
    rig.handler().always(DELIVERED)
    rig.change(is_paused=False)

    assert rig.handler().ids[1:] == ["e8", "e9"]
    assert rig.dropped(Dropped.SKIPPED) == 5
    assert rig.books().matched == 7


def test_a_rewind_outlives_a_restart(rig: Rig) -> None:
    """After a rewind and a restart what was superseded does not come back."""
    rig.subscribe(retry=AT_ONCE)
    rig.handler().react = lambda _: failed()
    rig.publish(3)
    rig.handler().react = lambda _: None
    rig.rewind(1)
    rig.handler().attempts.clear()

    rig.restart()
    rig.handler().react = lambda _: DELIVERED
    rig.advance(60.0)

    assert Counter(rig.handler().ids) == Counter(["e1", "e2"])
    assert rig.books().delivered == 2
    assert rig.read(rig.store.usage).ladder_count == 0


def test_a_rewind_of_a_replay(rig: Rig) -> None:
    """A replay on the ladder that a rewind gives up is a dead letter again."""
    rig.notices()
    rig.subscribe(retry=AT_ONCE)
    rig.handler().react = lambda _: failed(400)
    rig.publish(2)
    rig.handler().react = lambda _: None
    rig.ask(lambda done: rig.engine.dead_letters.replay(rig.letters(), done))
    assert len(rig.handler().open) == 2

    rig.rewind(2)
    rig.settle()

    assert rig.dropped(Dropped.SKIPPED) == 2
    assert [letter.replayed_ms for letter in rig.letters()] == [0, 0]
    assert rig.engine.dead_letters.counts[rig.subscription().id] == 2
    rig.restart()
    assert rig.engine.dead_letters.counts[rig.subscription().id] == 2


# --- the latest failures --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [FAILURES_KEPT - 1, FAILURES_KEPT, FAILURES_KEPT + 1])
def test_the_latest_failures(rig: Rig, count: int) -> None:
    """The latest failed attempts of a lane are at hand, so many and no more."""
    lane = rig.subscribe(concurrency=count)
    rig.publish(count)

    rig.handler().answer(failed(503))

    kept = [record.position for record in lane.failures]
    assert kept == list(range(count))[-FAILURES_KEPT:]
    assert lane.attempts_failed == count
