"""Delays cut into hops, at their bounds."""

import dataclasses
from random import Random

import pytest

from eventpost.queues.sqs.settings import FIFO_TRAITS, TRAITS
from eventpost.workers.delays import Hide, Resend, Run, Step, Wait, first_delay_s, step
from eventpost.workers.limits import WorkerLimits

LIMITS = WorkerLimits()
HOUR_S = 3_600.0


def decided(rest_s: float, age_s: float = 0.0, *, has_room: bool = True) -> Step:
    return step(rest_s, age_s, TRAITS, LIMITS, has_room=has_room, resends=True)


@pytest.mark.parametrize(
    ("delay_ms", "delay_s"),
    [(0, 0), (999, 0), (1_000, 1), (899_999, 899), (900_000, 900), (900_001, 900), (10**12, 900)],
)
def test_a_first_delay_is_never_too_long(delay_ms: int, delay_s: int) -> None:
    """Whole seconds, rounded down, and at most what the system takes."""
    assert first_delay_s(delay_ms, TRAITS) == delay_s
    assert first_delay_s(delay_ms, FIFO_TRAITS) == 0


@pytest.mark.parametrize(
    ("rest_s", "expected"),
    [
        (-1.0, Run()),
        (0.0, Run()),
        (0.001, Wait(0.001)),
        (2.0, Wait(2.0)),
        (2.001, Hide(2.0)),
        (3.999, Hide(3.0)),
        (12 * HOUR_S + 1, Hide(12 * HOUR_S)),
        (float("inf"), Hide(12 * HOUR_S)),
    ],
)
def test_a_rest_is_waited_for_or_hidden(rest_s: float, expected: Step) -> None:
    """Up to the bound in memory, beyond it in the queue, never past its time."""
    assert decided(rest_s) == expected


def test_memory_is_bounded() -> None:
    """Without room a short rest is hidden, too, by no less than a second."""
    assert decided(0.3, has_room=False) == Hide(1.0)
    assert decided(1.9, has_room=False) == Hide(1.0)


def test_an_old_message_is_sent_anew() -> None:
    """At the bound of age, where the queue forgets by age, and there alone."""
    assert decided(HOUR_S, LIMITS.resend_age_s - 1) == Hide(HOUR_S)
    assert decided(HOUR_S, LIMITS.resend_age_s) == Resend(900.0)
    kept = step(HOUR_S, 10**9, TRAITS, LIMITS, has_room=True, resends=False)
    assert kept == Hide(HOUR_S)
    assert decided(1.0, 10**9) == Wait(1.0)


def test_any_delay_comes_to_its_end(random: Random) -> None:
    """A simulated message is run at its time: not before, not a second after, in few hops, and it
    is never as old as the shortest retention that is allowed to matter."""
    for _ in range(300):
        due_s = random.uniform(0, 30 * 24 * HOUR_S)
        now_s = first_delay_s(due_s * 1000, TRAITS)
        sent_s, hops = 0.0, 0
        while not isinstance(what := decided(due_s - now_s, now_s - sent_s), Run):
            hops += 1
            assert now_s - sent_s <= 25 * HOUR_S
            match what:
                case Wait(rest_s):
                    now_s += rest_s
                case Hide(delay_s):
                    now_s += delay_s
                case Resend(delay_s):
                    sent_s, now_s = now_s, now_s + delay_s
        assert due_s <= now_s <= due_s + 1
        assert hops <= 3 + 4 * due_s / (12 * HOUR_S)


BOUNDS = [one.name for one in dataclasses.fields(WorkerLimits) if one.name != "quick_s"]


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_is_positive(name: str) -> None:
    """No bound of workers can be switched off by mistake."""
    with pytest.raises(ValueError, match=name):
        WorkerLimits(**{name: 0})
    assert getattr(WorkerLimits(**{name: 1}), name) == 1


def test_a_part_is_no_more_than_the_whole() -> None:
    """What waits in memory is part of what is fetched ahead."""
    with pytest.raises(ValueError, match="held_part_max"):
        WorkerLimits(held_part_max=1.01)
