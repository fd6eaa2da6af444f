"""What faults at an unlucky moment leave behind: nothing stuck, and balanced books."""

from collections.abc import Callable, Iterator

import pytest

from eventpost.core.interfaces import ReadFailed, Usage
from eventpost.core.outcomes import DELIVERED
from eventpost.core.subscriptions import RetryPolicy
from eventpost.testing.clock import START_MS, VirtualClock
from tests.grid.rig import LIMITS, Rig, failed

SOON = RetryPolicy(schedule=(1_000,))


def ladder_count(rig: Rig) -> int:
    usage = rig.read(rig.store.usage)
    assert isinstance(usage, Usage)
    return usage.ladder_count


def test_what_passes_a_lane_between_two_crashes_is_counted(rig: Rig) -> None:
    """A second crash, before a lane was restored after the first one, leaves balanced books: what
    was published in between is matched once."""
    rig.subscribe(concurrency=1)
    rig.publish(3)
    rig.topic("another")  # what was routed so far is kept with it

    rig.crash(hold=["read"])
    for _ in range(3):
        rig.publish(1)
    rig.topic("one-more")
    rig.crash()
    rig.settle()
    rig.handler().always(DELIVERED)
    rig.advance(1.0)

    assert rig.books().matched == 6
    assert rig.books().delivered == 6


@pytest.mark.parametrize("is_restarted", [False, True])
def test_parked_rows_that_a_rewind_superseded_go(rig: Rig, is_restarted: bool) -> None:
    """Rows that were parked when a rewind superseded them are taken off once the lane may send."""
    rig.subscribe(retry=SOON)
    rig.handler().always(failed())
    rig.publish(3)
    rig.change(is_paused=True)
    rig.advance(10.0)
    rig.rewind(3)
    assert ladder_count(rig) == 3

    if is_restarted:
        rig.restart()
    rig.change(is_paused=False)
    rig.advance(1.0)

    assert ladder_count(rig) == 0


def test_a_row_whose_event_could_not_be_read_is_met_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that cannot be read while later rows are being looked for is tried again."""
    rig.subscribe(retry=SOON)
    rig.handler().always(failed())
    for _ in range(3):
        rig.publish(1)
        rig.advance(0.3)
    reads: list[Callable[[object], None]] = []
    monkeypatch.setattr(rig.store, "events", lambda _keys, done: reads.append(done))

    until(rig, lambda: len(reads) == 2)
    rig.executor.hold("read")
    until(rig, lambda: bool(rig.executor.held["read"]))
    for answer in reads:
        answer(ReadFailed("no answer"))
    monkeypatch.undo()
    rig.handler().always(DELIVERED)
    rig.executor.release("read")
    rig.advance(10.0)

    assert rig.books().delivered == 3


def until(rig: Rig, condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        rig.advance(0.01)
    raise AssertionError("waited too long")


@pytest.fixture
def earlier() -> Iterator[Callable[[Rig], Rig]]:
    """The same grid after a restart with a clock that was set back by an hour."""
    made: list[Rig] = []

    def new(before: Rig) -> Rig:
        before.close()
        made.append(Rig(before.directory, LIMITS, clock=VirtualClock(START_MS - 3_600_000)))
        return made[-1]

    yield new
    for rig in made:
        rig.close()


def test_dead_letters_are_written_also_after_the_clock_was_set_back(
    rig: Rig, earlier: Callable[[Rig], Rig]
) -> None:
    """A dead letter that waits for its file gets it after a restart with an earlier clock."""
    rig.subscribe(deadletter="folder:letters")
    rig.handler().always(failed(400))
    rig.files.failure = failed()
    rig.publish(1)
    rig.advance(5.0)
    assert rig.files.written == []

    after = earlier(rig)
    after.advance(5.0)

    assert len(after.files.written) == 1
