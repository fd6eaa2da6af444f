"""When a queue is empty: not before it says so itself, where it can."""

from dataclasses import replace

import pytest

from eventpost.sources.moving.ending import Ending, Look
from eventpost.sources.moving.limits import MoveLimits

LIMITS = MoveLimits(quiet_s=1.0, idle_s=5.0, hidden_wait_s=60.0)


def quiet(limits: MoveLimits = LIMITS) -> Ending:
    """Something came at 100 s, after three empty answers."""
    ending = Ending(limits, 0.0)
    ending.came(100.0, 3)
    return ending


def test_a_queue_that_has_not_answered_is_waited_for() -> None:
    """Silence alone proves nothing: there must have been an empty answer since."""
    assert quiet().look(1_000.0, 3) is Look.WAIT


def test_it_is_counted_once_it_is_quiet() -> None:
    """A moment after the last message, and not before, it is asked how much it holds."""
    ending = quiet()

    assert ending.look(100.99, 4) is Look.WAIT
    assert ending.look(101.0, 4) is Look.COUNT


def test_a_queue_that_holds_nothing_is_empty() -> None:
    """Once it says that nothing is left, and then gives nothing, that is the end."""
    ending = quiet()
    ending.counted(0, 101.0, 4)

    assert ending.look(101.1, 4) is Look.WAIT
    assert ending.look(110.0, 4) is Look.WAIT
    assert ending.look(101.1, 5) is Look.EMPTY


def test_what_is_hidden_is_waited_for() -> None:
    """Messages that are not handed out are waited for so long, counted again and again."""
    ending = quiet()
    ending.counted(2, 101.0, 4)
    assert ending.look(101.5, 4) is Look.WAIT
    assert ending.look(102.0, 4) is Look.COUNT

    ending.counted(2, 159.5, 9)
    assert ending.look(159.9, 9) is Look.WAIT
    assert ending.look(160.0, 9) is Look.HIDDEN


def test_a_message_that_comes_begins_it_anew() -> None:
    """What was counted before says nothing after a message came."""
    ending = quiet()
    ending.counted(0, 101.0, 4)
    ending.came(101.05, 4)

    assert ending.look(101.1, 5) is Look.WAIT
    assert ending.look(102.05, 5) is Look.COUNT


def test_a_queue_that_cannot_be_counted_is_empty_after_a_while() -> None:
    """Where nobody says how much there is, it must have been quiet for longer."""
    ending = quiet()
    ending.counted(None, 101.0, 4)
    assert ending.look(101.9, 4) is Look.WAIT
    assert ending.look(102.0, 4) is Look.COUNT  # it may have been a moment's trouble
    ending.counted(None, 104.5, 4)
    assert ending.look(104.9, 4) is Look.WAIT
    assert ending.look(105.0, 4) is Look.EMPTY


def test_nothing_hidden_is_waited_for_when_that_is_asked() -> None:
    """With no time to wait, what is hidden ends the move at once."""
    ending = quiet(replace(LIMITS, hidden_wait_s=0.0))
    ending.counted(1, 101.0, 4)

    assert ending.look(101.1, 4) is Look.HIDDEN


@pytest.mark.parametrize("name", ["page_max", "skipped_max", "retry_s_min", "lease_s"])
def test_bounds_are_positive(name: str) -> None:
    """A bound that would stop everything is refused by its name."""
    with pytest.raises(ValueError, match=name):
        replace(LIMITS, **{name: 0})
