"""One bad handler harms no other, memory stays bounded, and nothing is lost or doubled."""

from collections import Counter

import pytest

from eventpost.testing import HANG, Grid, Receiver, VirtualClock
from eventpost.testing.receiver import NewReceiver, Reaction

LANE_MAX = 8
PROBE_S = 5.0


@pytest.mark.parametrize("reaction", [HANG, 500, 400])
def test_a_bad_handler_delays_no_other(
    grid: Grid, receiver: Receiver, new_receiver: NewReceiver, reaction: Reaction
) -> None:
    """While one handler hangs or fails, another one of the topic gets every event at once."""
    bad = new_receiver()
    bad.always = reaction
    grid.topic("songs")
    grid.subscribe("songs", bad, name="bad", concurrency=2)
    grid.subscribe("songs", receiver, name="good")

    ids = grid.publish("songs", count=50)

    grid.settle()
    assert Counter(receiver.ids) == Counter(ids)
    assert grid.books("good").delivered == 50
    assert grid.books("bad").delivered == 0


def test_concurrency_is_a_bound(grid: Grid, receiver: Receiver) -> None:
    """So many attempts are under way at once and no more."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=3)
    receiver.always = HANG

    grid.publish("songs", count=10)

    grid.settle()
    assert receiver.held_count == 3
    assert grid.books().in_flight == 3
    receiver.always = 200
    receiver.release()
    grid.settle()
    assert grid.books().delivered == 10


@pytest.mark.parametrize("count", [LANE_MAX - 1, LANE_MAX, LANE_MAX + 1, 5 * LANE_MAX])
@pytest.mark.grid(lane_events_max=LANE_MAX)
def test_a_full_lane_reads_the_log(grid: Grid, receiver: Receiver, count: int) -> None:
    """A lane holds no more than its bound; the rest waits in the log and comes, once, in order."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1)
    receiver.script(HANG)

    ids = [grid.publish("songs")[0] for _ in range(count)]

    receiver.wait_for_held(1)
    grid.settle()
    books = grid.books()
    assert books.pending == min(count, LANE_MAX)
    assert books.lag == count - books.pending
    receiver.release()
    grid.settle()
    assert receiver.ids == ids
    books = grid.books()
    assert (books.matched, books.delivered, books.lag) == (count, count, 0)


@pytest.mark.grid(lane_events_max=LANE_MAX, tail_bytes_max=1)
def test_the_log_is_read_from_disk(grid: Grid, receiver: Receiver) -> None:
    """What is no longer in memory is read from the store, filtered, whole and in order."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1, filter={"subjectBeginsWith": "a"})
    receiver.script(HANG)
    wanted = []
    for index in range(40):
        wanted += grid.publish("songs", {"subject": "a", "data": {"n": index}})
        grid.publish("songs", {"subject": "b"})
    receiver.wait_for_held(1)

    receiver.release()

    grid.settle()
    assert receiver.ids == wanted
    assert grid.books().matched == 40


@pytest.mark.grid(lane_events_max=LANE_MAX, catchup_turn_events=7)
def test_lagging_lanes_read_together(grid: Grid, new_receiver: NewReceiver) -> None:
    """Lanes that lag, each with its own filter and at its own place, get all that is theirs."""
    handlers = [new_receiver() for _ in range(6)]
    grid.topic("songs")
    for index, handler in enumerate(handlers):
        handler.script(HANG)
        grid.subscribe(
            "songs",
            handler,
            name=f"handler{index}",
            concurrency=1,
            filter={"subjectEndsWith": str(index % 3)},
        )
    ids: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for index in range(120):
        ids[index % 3] += grid.publish("songs", {"subject": f"s{index % 3}"})

    for handler in handlers:
        handler.wait_for_held(1)
        handler.release()

    grid.settle()
    for index, handler in enumerate(handlers):
        assert handler.ids == ids[index % 3]
        assert grid.books(f"handler{index}").delivered == 40


@pytest.mark.grid(lane_bytes_max=4_000)
def test_a_lane_is_bounded_in_bytes(grid: Grid, receiver: Receiver) -> None:
    """Large events fill a lane before their number does."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1)
    receiver.script(HANG)
    ids = [grid.publish("songs", {"data": "x" * 1_000})[0] for _ in range(10)]

    receiver.wait_for_held(1)
    grid.settle()
    assert grid.books().pending == 4
    receiver.release()

    grid.settle()
    assert receiver.ids == ids


@pytest.mark.grid(deliveries_max=10, lane_share_min=2)
def test_all_lanes_together_are_bounded(grid: Grid, new_receiver: NewReceiver) -> None:
    """When all lanes hold what they may together, each still has its share."""
    grid.topic("songs")
    hanging = new_receiver()
    hanging.always = HANG
    for index in range(8):
        grid.subscribe("songs", hanging, name=f"handler{index}")

    grid.publish("songs", count=10)

    grid.settle()
    held = [grid.books(f"handler{index}").pending for index in range(8)]
    assert min(held) >= 2
    assert sum(held) <= 10 + 8 * 2
    hanging.always = 200
    hanging.release()
    grid.settle()
    assert all(grid.books(f"handler{index}").delivered == 10 for index in range(8))


@pytest.mark.grid(cursor_gap_max=10)
def test_a_hanging_attempt_does_not_hold_the_cursor(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """An attempt that others overtake by far becomes a row on the ladder, uncounted; it is not
    sent a second time while it is under way, and counts when it is answered."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=2)
    receiver.script(HANG)
    [first] = grid.publish("songs")
    receiver.wait_for_held(1)

    for _ in range(12):
        grid.publish("songs")
        grid.settle()
    clock.advance(1)

    books = grid.books()
    assert (books.ladder, books.delivered, books.pending) == (1, 12, 1)
    assert receiver.ids.count(first) == 1
    receiver.release()
    grid.settle()
    assert receiver.ids.count(first) == 1
    books = grid.books()
    assert (books.ladder, books.delivered, books.pending) == (0, 13, 0)


@pytest.mark.parametrize("overtaking", [10, 11])
@pytest.mark.grid(cursor_gap_max=10)
def test_how_far_others_may_overtake(grid: Grid, receiver: Receiver, overtaking: int) -> None:
    """Up to the bound an attempt keeps its place in the lane."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=2)
    receiver.script(HANG)
    for _ in range(overtaking):
        grid.publish("songs")
        grid.settle()

    assert grid.books().ladder == (1 if overtaking > 10 else 0)


@pytest.mark.grid(cursor_gap_max=10)
def test_a_parked_attempt_that_fails(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """An attempt that was overtaken and fails is tried again as its first failure."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=2)
    receiver.script(HANG)
    [first] = grid.publish("songs")
    receiver.wait_for_held(1)
    for _ in range(12):
        grid.publish("songs")
        grid.settle()

    receiver.release(500)
    clock.advance(11)

    assert receiver.ids.count(first) == 2
    assert receiver.requests[-1].attempt == 1
    assert grid.books().delivered == 13


@pytest.mark.grid(cursor_gap_max=10)
def test_a_parked_attempt_is_sent_again_after_a_crash(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """An attempt that was overtaken and never answered goes out again after a crash, alone."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=2)
    receiver.script(HANG)
    [first] = grid.publish("songs")
    receiver.wait_for_held(1)
    for _ in range(12):
        grid.publish("songs")
        grid.settle()

    grid.crash()
    clock.advance(0.01)

    assert Counter(receiver.ids)[first] == 2
    assert len(receiver.requests) == 14
    assert grid.books().delivered == 13


# --- the breaker ----------------------------------------------------------------------------------


def fail(grid: Grid, receiver: Receiver, count: int) -> None:
    """So many failed attempts in a row."""
    receiver.always = 500
    grid.publish("songs", count=count)
    grid.settle()


@pytest.mark.parametrize(("failures", "is_open"), [(9, False), (10, True)])
@pytest.mark.grid(breaker_failures=10)
def test_the_breaker_opens_after_so_many_failures(
    grid: Grid, receiver: Receiver, failures: int, is_open: bool
) -> None:
    """Fewer failures in a row than the bound never open a breaker."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1)

    fail(grid, receiver, failures)

    assert grid.books().is_breaker_open is is_open


@pytest.mark.grid(breaker_failures=10)
def test_a_success_begins_the_count_anew(grid: Grid, receiver: Receiver) -> None:
    """Only failures in a row count."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1)
    fail(grid, receiver, 9)
    receiver.always = 200
    grid.publish("songs")
    grid.settle()

    fail(grid, receiver, 9)

    assert not grid.books().is_breaker_open


@pytest.mark.grid(breaker_failures=5)
def test_final_answers_open_no_breaker(grid: Grid, receiver: Receiver) -> None:
    """A handler that answers finally is alive."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1)
    receiver.always = 400

    grid.publish("songs", count=10)

    grid.settle()
    books = grid.books()
    assert (books.is_breaker_open, sum(books.dead_lettered.values())) == (False, 10)


@pytest.mark.grid(breaker_failures=5)
def test_an_open_breaker_lets_probes_through(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """While a breaker is open nothing is sent but one probe after 5 s, 10 s, 20 s, ... up to a
    minute; waiting costs no attempt."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1)
    fail(grid, receiver, 5)
    start_ms = clock.now_ms()
    grid.publish("songs", count=100)
    grid.settle()
    assert len(receiver.requests) == 5

    clock.advance(300)

    probes = [(each.at_ms - start_ms) / 1000 for each in receiver.requests[5:]]
    assert probes == [5, 15, 35, 75, 135, 195, 255]
    assert grid.books().lag >= 90


@pytest.mark.grid(breaker_failures=5)
def test_a_probe_that_succeeds_closes_the_breaker(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """With the first success everything that waited is sent: fresh events and due retries."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=4)
    fail(grid, receiver, 8)
    ids = grid.publish("songs", count=20)
    grid.settle()
    receiver.always = 200

    clock.advance(PROBE_S)
    assert not grid.books().is_breaker_open
    clock.advance(60)

    books = grid.books()
    assert (books.delivered, books.pending, books.lag) == (28, 0, 0)
    assert set(ids) <= set(receiver.ids)


@pytest.mark.grid(breaker_failures=5)
def test_a_final_answer_closes_the_breaker(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """A probe that is refused for good shows that the handler is alive."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1)
    fail(grid, receiver, 6)
    receiver.script(400)
    receiver.always = 200

    clock.advance(PROBE_S)

    assert not grid.books().is_breaker_open
    assert sum(grid.books().dead_lettered.values()) == 1


@pytest.mark.grid(breaker_failures=5)
def test_retries_wait_for_the_breaker(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """A retry that falls due while the breaker is open waits without using up an attempt."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=5, retry={"schedule": "1s"})
    fail(grid, receiver, 5)

    clock.advance(120)
    assert len(receiver.requests) == 5 + len(["5 s", "15 s", "35 s", "75 s"])
    receiver.always = 200
    clock.advance(60)

    books = grid.books()
    assert (books.delivered, books.pending, books.is_breaker_open) == (5, 0, False)


@pytest.mark.grid(breaker_failures=5)
def test_time_runs_out_behind_an_open_breaker(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """Time to live runs while a breaker is open, for what failed and for what was never read."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1, retry={"eventTtl": "10m"})
    fail(grid, receiver, 5)
    grid.publish("songs", count=50)
    grid.settle()

    clock.advance(11 * 60)
    assert grid.books().lag == 0
    clock.advance(3_600)

    books = grid.books()
    assert books.dead_lettered == {"TimeToLiveExceeded": 55}
    assert (books.pending, books.lag, books.ladder) == (0, 0, 0)


@pytest.mark.grid(retries_held_max=4)
def test_many_due_retries(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """More retries than a lane holds fall due at once: those beyond wait parked and all are sent,
    each once."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=2)
    receiver.always = 500
    ids = grid.publish("songs", count=30)
    grid.settle()
    receiver.always = 200
    del receiver.requests[:]

    clock.advance(12)

    assert Counter(receiver.ids) == Counter(ids)
    assert grid.books().delivered == 30


@pytest.mark.grid(outcomes_unsaved_max=4)
def test_outcomes_that_wait_bound_what_is_sent(grid: Grid, receiver: Receiver) -> None:
    """Lanes wait for outcomes to be committed, and go on after it."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=8)

    ids = grid.publish("songs", count=100)

    grid.settle()
    assert Counter(receiver.ids) == Counter(ids)
