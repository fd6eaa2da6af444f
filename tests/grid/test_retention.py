"""Which events go, which stay, and what happens when there is no room for those that must."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventpost.core.books import Dropped
from eventpost.core.errors import Overloaded
from eventpost.core.interfaces import ReadFailed
from eventpost.core.outcomes import DELIVERED
from eventpost.core.subscriptions import Filter, RetryPolicy
from eventpost.grid import catalogue, moving
from eventpost.grid.retention import FULL_AGAIN, GIVEN_UP, LOOK_AGAIN, ROOM_S
from eventpost.stores.sqlite import SqliteSettings
from tests.grid.conftest import NewRig
from tests.grid.rig import LIMITS, Rig, failed

KEPT_S = 3_600.0
LOOK_S = 60.0
SEGMENTED = SqliteSettings(synchronous="NORMAL", wal_pages=10, block_bytes=1)
"""A write-ahead log that does not count for much, and a block for every event."""
EVENT_BYTES = 10_000
STORED_BYTES = 12_300
"""What such an event takes in the file, measured."""
LATER = RetryPolicy(schedule=(4_000_000,), event_ttl_ms=7 * 24 * 3_600_000)


@pytest.fixture
def rig(new_rig: NewRig) -> Rig:
    made = new_rig(retention_interval_s=LOOK_S, retention_ms=3_600_000)
    made.topic()
    return made


def first(rig: Rig) -> int | None:
    """The oldest position that the store still has."""
    topic = rig.topics["songs"]
    position: int | None = rig.read(rig.store.usage).first_positions.get((topic.id, 0))
    return position


# --- by age ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age_s", "is_kept"), [(-LOOK_S, True), (2 * LOOK_S, False)])
def test_events_go_when_they_are_old(rig: Rig, age_s: float, is_kept: bool) -> None:
    """What nobody needs is kept for the time set, and goes soon after."""
    rig.publish(3)
    rig.advance(KEPT_S + age_s)

    assert (first(rig) == 0) is is_kept


def test_younger_events_stay(rig: Rig) -> None:
    """Only what is old enough goes."""
    rig.publish(3)
    rig.advance(KEPT_S / 2)
    rig.publish(2)

    rig.advance(KEPT_S / 2 + 2 * LOOK_S)
    rig.publish(1)

    assert first(rig) == 3


@pytest.mark.parametrize("why", ["unread", "outstanding", "ladder", "parked"])
def test_what_is_needed_stays(rig: Rig, why: str) -> None:
    """However old, an event stays while a lane or the ladder needs it, and goes afterwards."""
    rig.subscribe(retry=LATER)
    if why == "unread":
        rig.change(is_paused=True)
    if why in ("ladder", "parked"):
        rig.handler().react = lambda _: failed()
    rig.publish(1)
    rig.handler().react = lambda _: None
    if why == "parked":
        rig.change(is_paused=True)
    rig.publish(2)

    rig.advance(KEPT_S + 5 * LOOK_S)
    assert first(rig) == 0

    rig.handler().always(DELIVERED)
    rig.change(is_paused=False)
    rig.advance(2 * KEPT_S)
    assert rig.books().delivered == 3
    assert first(rig) in (None, 3)


def test_what_waits_after_a_restart_stays(rig: Rig) -> None:
    """An event that a lane is still being restored from is needed."""
    rig.subscribe(retry=LATER, is_paused=True)
    rig.publish(1)
    rig.change(is_paused=False)
    rig.change(is_paused=True)
    rig.handler().attempts.clear()

    rig.restart(hold=("read",))
    rig.advance(KEPT_S + 2 * LOOK_S)
    rig.executor.release("read")
    rig.handler().always(DELIVERED)
    rig.change(is_paused=False)

    assert rig.handler().ids == ["e0"]


def test_a_row_on_its_way_to_the_ladder(rig: Rig) -> None:
    """An event whose delivery has just failed is needed, though its row is not on disk yet."""
    rig.subscribe(retry=LATER)
    rig.publish(1)
    rig.advance(KEPT_S + 2 * LOOK_S)
    assert first(rig) == 0

    rig.executor.hold("write")
    rig.offer(1)
    rig.settle()
    rig.handler().answer(failed(), count=1)
    rig.advance(LOOK_S)  # looks while the commit with the row is open
    rig.executor.release("write")
    rig.advance(LOOK_S)
    rig.handler().always(DELIVERED)
    rig.advance(5_000.0)

    assert rig.dropped(Dropped.RETENTION) == 0
    assert rig.books().delivered == 2


def test_what_a_lane_passed_over_is_not_missed(rig: Rig) -> None:
    """Events go that a lane read and did not want; after a restart it knows, and tells no loss."""
    rig.subscribe(wanted=Filter(included_event_types=("Never",)), is_paused=True)
    rig.publish(5)
    rig.lane().cursor = 5  # as reading on leaves it, which notes its place only now and then
    rig.advance(KEPT_S + 2 * LOOK_S)
    rig.publish(1)
    assert first(rig) == 5

    rig.crash()
    rig.change(is_paused=False)

    assert rig.watcher.lost == []


def test_a_rewind_to_what_is_about_to_go(rig: Rig) -> None:
    """What a lane is moved back to while old events are being looked for is not lost."""
    rig.subscribe()
    rig.handler().always(DELIVERED)
    ids = rig.publish(3)
    rig.advance(KEPT_S - LOOK_S)
    rig.change(is_paused=True)
    rig.executor.hold("scan")
    rig.advance(2 * LOOK_S)
    done, answer = rig.executor.held["scan"].pop()
    rig.clock.call_soon(done, answer)
    rig.settle()
    rig.handler().attempts.clear()

    rig.rewind(0)
    rig.executor.release("scan")
    rig.change(is_paused=False)

    assert rig.handler().ids == ids
    assert rig.watcher.lost == []


def test_old_attempts_go(new_rig: NewRig) -> None:
    """The attempt log is kept for its own time."""
    rig = new_rig(retention_interval_s=LOOK_S, retention_ms=3_600_000, attempts_kept_ms=3_600_000)
    topic = rig.topic()
    rig.subscribe(retry=LATER)
    rig.handler().react = lambda _: failed()
    rig.publish(1)
    assert rig.read(lambda done: rig.store.attempts(topic.id, 0, 0, done))

    rig.advance(3_600.0 + 2 * LOOK_S)
    rig.publish(1)
    rig.advance(2 * LOOK_S)
    rig.publish(1)

    assert rig.read(lambda done: rig.store.attempts(topic.id, 0, 0, done)) == []


@pytest.mark.parametrize("faults", [1, 2, 3])
def test_a_look_that_fails(rig: Rig, faults: int) -> None:
    """It is made again at its time."""
    rig.publish(3)
    rig.advance(KEPT_S)
    rig.executor.faults["scan"] = [ReadFailed("busy")] * faults

    rig.advance(10 * LOOK_S)

    assert first(rig) in (None, 3)


# --- by bytes -------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[NewRig]:
    """Makes an engine with room for about 200 of the events of `fill`."""
    made: list[Rig] = []

    def new(**limits: Any) -> Rig:
        bounds = {
            "retention_interval_s": LOOK_S,
            "store_bytes_max": 200 * STORED_BYTES + 100_000,
            "lane_events_max": 16,
            "tail_bytes_max": 1,
        }
        bounds.update(limits)
        made.append(Rig(tmp_path / "small", msgspec.structs.replace(LIMITS, **bounds), SEGMENTED))
        made[-1].topic()
        return made[-1]

    yield new
    for rig in made:
        rig.check()
        rig.close()


def fill(rig: Rig, count: int, **named: Any) -> None:
    """Events of ten kilobytes, each in a block of its own."""
    for start in range(0, count, 10):
        rig.publish(min(10, count - start), data="x" * EVENT_BYTES, **named)


def fill_up(rig: Rig, **named: Any) -> int:
    """The same until there is no room; returns how many were kept."""
    kept = 0
    while kept < 1_000:
        try:
            fill(rig, 10, **named)
        except Overloaded:
            return kept
        kept += 10
    raise AssertionError("it was never full")


def fill_up_half(rig: Rig) -> int:
    """Until there is no room, events of the types A and B in turn; returns how many of A."""
    wanted = 0
    while wanted < 1_000:
        try:
            fill(rig, 5, event_type="A")
            wanted += 5
            fill(rig, 5, event_type="B")
        except Overloaded:
            return wanted
    raise AssertionError("it was never full")


def used(rig: Rig) -> int:
    bytes_used: int = rig.read(rig.store.usage).bytes_used
    return bytes_used


def test_what_nobody_needs_goes_before_the_store_is_full(small: NewRig) -> None:
    """From four fifths of the limit on, events that nobody needs go, however young."""
    rig = small()
    fill(rig, 120)
    rig.advance(LOOK_S)
    assert first(rig) == 0

    fill(rig, 400)
    rig.advance(3 * LOOK_S)

    kept_from = first(rig)
    assert kept_from is None or kept_from > 320
    assert not rig.engine.is_full


def test_a_disk_that_fills_between_two_looks(small: NewRig) -> None:
    """What is published fast is noticed before the time of the next look: the store goes hardly
    beyond its limit."""
    rig = small(retention_interval_s=KEPT_S)
    rig.subscribe(retry=LATER)
    now_ms = rig.clock.now_ms()

    kept = fill_up(rig)

    assert rig.clock.now_ms() == now_ms
    assert 180 < kept < 230
    assert used(rig) < rig.limits.store_bytes_max * (1 + 2 * LOOK_AGAIN)


def test_a_full_store_gives_its_handlers_time(small: NewRig) -> None:
    """Nothing that waits is given up before publishing was refused for a whole interval."""
    rig = small()
    rig.subscribe(retry=LATER, is_paused=True)
    fill_up(rig)

    rig.advance(LOOK_S - 1)
    assert rig.dropped(Dropped.RETENTION) == 0

    rig.advance(2 * LOOK_S)
    assert rig.dropped(Dropped.RETENTION) > 0


def test_what_was_on_its_way_takes_no_time_from_them(small: NewRig) -> None:
    """So it is when events that had been accepted before are durable only after the store was found
    full."""
    rig = small()
    rig.subscribe(retry=LATER, is_paused=True)
    fill(rig, 190)
    rig.executor.hold("write")
    for _ in range(20):
        rig.offer(1, data="x" * EVENT_BYTES)
    rig.advance(LOOK_S)
    assert rig.engine.is_full

    rig.executor.release("write")
    rig.settle()
    rig.advance(LOOK_S - 1)

    assert rig.dropped(Dropped.RETENTION) == 0


def test_a_full_store_that_lets_go_is_soon_open_again(small: NewRig) -> None:
    """When handlers catch up the room they made is found without waiting for a whole interval."""
    rig = small(retention_interval_s=KEPT_S)
    rig.subscribe(retry=LATER)
    kept = fill_up(rig)
    rig.handler().always(DELIVERED)
    assert rig.books().delivered == kept

    rig.advance(KEPT_S + 2 * ROOM_S)

    assert not rig.engine.is_full
    assert first(rig) in (None, kept)


@pytest.mark.slow
def test_a_full_store_refuses(small: NewRig) -> None:
    """At the limit publishing is refused, and taken up again a little below it."""
    rig = small()
    rig.subscribe(retry=LATER)
    kept = fill_up(rig)
    with pytest.raises(Overloaded) as refused:
        rig.offer(1)
    assert refused.value.code == "EP3001"

    rig.handler().always(DELIVERED)
    rig.advance(3 * LOOK_S)

    assert used(rig) < FULL_AGAIN * rig.limits.store_bytes_max
    assert rig.books().delivered + rig.dropped(Dropped.RETENTION) == kept
    rig.publish(1)


@pytest.mark.slow
@pytest.mark.parametrize("why", ["paused", "hanging", "failing", "open breaker"])
def test_what_waits_gives_way(small: NewRig, why: str) -> None:
    """When everything is needed and there is no room, the oldest events are given up: each is
    counted as matched and dropped, publishing goes on, and what is young enough is delivered."""
    rig = small(breaker_failures=3 if why == "open breaker" else 10_000)
    only = Filter(included_event_types=("A",))
    rig.subscribe(retry=LATER, wanted=only, concurrency=4)
    if why in ("failing", "open breaker"):
        rig.handler().react = lambda _: failed()
    fill(rig, 5, event_type="A")
    if why == "paused":
        rig.change(is_paused=True)
    wanted = 5 + fill_up_half(rig)

    for _ in range(20):
        rig.advance(LOOK_S)
        for attempt in rig.handler().open:  # those that hang end some time
            attempt.is_answered = True
            attempt.done(attempt.deliveries, failed())
    assert not rig.engine.is_full
    assert (first(rig) or 0) > 0
    dropped = rig.dropped(Dropped.RETENTION)
    rig.check()

    rig.handler().always(DELIVERED)
    rig.change(is_paused=False)
    rig.advance(2 * 4_500.0)

    books = rig.books()
    assert books.matched == wanted
    assert books.pending == 0
    assert books.delivered + rig.dropped(Dropped.RETENTION) == wanted
    assert rig.dropped(Dropped.RETENTION) >= dropped
    assert 0 < rig.dropped(Dropped.RETENTION) < wanted * 4 * GIVEN_UP
    assert books.dead_lettered == {}
    assert rig.watcher.lost


@pytest.mark.parametrize("is_paused", [True, False])
@pytest.mark.parametrize("below", [0, 1, 5, 10])
def test_giving_up(new_rig: NewRig, below: int, is_paused: bool) -> None:
    """Exactly what lies before the bound is counted as dropped: in hand, unread or under way; a
    lane that is paused or full takes nothing behind it."""
    rig = new_rig(lane_events_max=2)
    rig.topic()
    rig.publish(10)
    rig.subscribe(start=0, concurrency=1, is_paused=is_paused)
    held = 0 if is_paused else 2

    for _ in range(2):  # a second look changes nothing
        moving.give_up(rig.lane(), below)
        rig.settle()

    in_flight = 0 if is_paused else 1
    assert rig.dropped(Dropped.RETENTION) == max(0, below - in_flight)
    assert len(rig.lane().outstanding) <= held
    assert rig.lane().cursor >= below
    rig.handler().always(DELIVERED)
    rig.change(is_paused=False)
    assert rig.books().delivered == 10 - max(0, below - in_flight)
    assert rig.handler().ids == [
        f"e{index}" for index in range(10) if index >= below or (index == 0 and not is_paused)
    ]


@pytest.mark.slow
def test_what_was_given_up_stays_counted(small: NewRig) -> None:
    """Drops outlive a crash, and nothing that was dropped comes back."""
    rig = small()
    rig.subscribe(retry=LATER, is_paused=True)
    kept = fill_up(rig)
    for _ in range(12):
        rig.advance(LOOK_S)
    rig.publish(1)
    dropped = rig.dropped(Dropped.RETENTION)
    assert dropped > 0

    rig.crash()
    rig.settle()
    rig.handler().always(DELIVERED)
    rig.change(is_paused=False)

    assert rig.dropped(Dropped.RETENTION) == dropped
    assert rig.books().delivered == kept + 1 - dropped
    assert rig.handler().ids[0] == f"e{dropped}"


def test_only_the_fullest_topic_gives_up(small: NewRig) -> None:
    """A topic that keeps little loses nothing to one that keeps much."""
    rig = small()
    rig.topic("little")
    rig.subscribe("modest", topic="little", retry=LATER, is_paused=True)
    rig.subscribe("greedy", retry=LATER, is_paused=True)
    fill(rig, 10, topic="little")
    fill_up(rig)

    for _ in range(12):
        rig.advance(LOOK_S)

    assert not rig.engine.is_full
    assert rig.dropped(Dropped.RETENTION, "greedy") > 0
    assert rig.dropped(Dropped.RETENTION, "modest") == 0


def test_dead_letters_that_fill_the_store(small: NewRig) -> None:
    """When it is dead letters that take the room no delivery is dropped for them."""
    rig = small()
    rig.subscribe("dying")
    rig.handler("dying").react = lambda _: failed(400)
    for _ in range(5):
        fill(rig, 26)
        rig.advance(3 * LOOK_S)
    rig.subscribe("waiting", is_paused=True)
    kept = fill_up(rig)
    assert len(rig.letters()) == 130 + kept

    for _ in range(12):
        rig.advance(LOOK_S)

    assert rig.engine.is_full
    assert rig.dropped(Dropped.RETENTION, "waiting") == 0


def test_a_topic_that_goes_makes_room(small: NewRig) -> None:
    """Deleting a topic ends the pressure that it made."""
    rig = small()
    rig.topic("other")
    rig.subscribe(retry=LATER, is_paused=True)
    fill_up(rig)
    number = rig.topics["songs"].id
    rig.ask(lambda done: catalogue.remove_topic(rig.engine, number, done))

    for _ in range(3):
        rig.advance(LOOK_S)

    assert not rig.engine.is_full
    rig.publish(1, topic="other")
