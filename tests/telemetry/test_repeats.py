"""The same thing is said so many times a window, and the rest is counted."""

import pytest

from eventpost.telemetry.repeats import Repeats


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("tries", "said"), [(2, 2), (3, 3), (4, 3)])
def test_the_bound_of_a_window(tries: int, said: int) -> None:
    """Up to the bound everything is said, and the first one beyond it is not."""
    repeats = Repeats(said_max=3, now=Clock())

    assert sum(repeats.is_said("a.b", "blues") for _ in range(tries)) == said
    assert repeats.suppressed_total == tries - said


def test_subscriptions_do_not_silence_each_other() -> None:
    """One failing subscription does not hide another one's first failure, nor another event."""
    repeats = Repeats(said_max=1, now=Clock())

    assert repeats.is_said("a.b", "blues")
    assert not repeats.is_said("a.b", "blues")
    assert repeats.is_said("a.b", "jazz")
    assert repeats.is_said("a.c", "blues")


def test_a_window_ends_once_it_was_told() -> None:
    """What a window suppressed is told once it is over, and then things are said again."""
    clock = Clock()
    repeats = Repeats(said_max=1, window_s=60, now=clock)
    for _ in range(3):
        repeats.is_said("a.b", "blues")

    clock.now_s = 59.9
    assert repeats.take_suppressed() == []
    clock.now_s = 60.0
    assert repeats.take_suppressed() == [(("a.b", "blues"), 2)]
    assert repeats.take_suppressed() == []
    assert repeats.is_said("a.b", "blues")


def test_a_window_that_suppressed_nothing_is_forgotten_silently() -> None:
    """Nothing is told about what was said in full."""
    clock = Clock()
    repeats = Repeats(now=clock)
    repeats.is_said("a.b", "blues")

    clock.now_s = 1_000

    assert repeats.take_suppressed() == []


def test_the_last_call_tells_everything() -> None:
    """At the end open windows are told too."""
    repeats = Repeats(said_max=1, now=Clock())
    repeats.is_said("a.b", "")
    repeats.is_said("a.b", "")

    assert repeats.take_suppressed() == []
    assert repeats.take_suppressed(is_last=True) == [(("a.b", ""), 1)]


@pytest.mark.parametrize(("subscriptions", "said"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_the_number_of_windows_is_bounded(subscriptions: int, said: int) -> None:
    """Subscriptions beyond the bound share one window per event, so that memory is bounded."""
    repeats = Repeats(said_max=1, keys_max=2, now=Clock())

    assert sum(repeats.is_said("a.b", str(index)) for index in range(subscriptions)) == said
